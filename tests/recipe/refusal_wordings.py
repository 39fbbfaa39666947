"""Refusals and what looks like them, one a line, behind the language's code.

In `THOUGHTS` an agent is at work, in `RESPONSES` a user is answered. None of them refuses.
"""


def _lines(listing: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for line in listing.strip().splitlines():
        code, _, text = line.partition(" ")
        pairs.append((code, text))
    return tuple(pairs)


REFUSALS = _lines(
    """
en I'm sorry, but I can't help with that.
en I’m sorry, but I can’t assist with that request.
en Sorry, I can't do that.
en I cannot assist with this.
en I can not help you with this.
en I'm unable to help with this request.
en I am not able to assist you here.
en I apologize, but I cannot provide that information.
en I apologise, but this is not something I can help with.
en As an AI language model, I cannot engage with harmful content.
en As an AI assistant, I must decline.
en I must respectfully decline this request.
en I have to decline.
en I will not participate in this.
en I won't.
en I won't help with that.
en I refuse to answer this.
en I refuse.
en I decline to discuss it.
en Unfortunately, I'm not able to fulfill this request.
en Unfortunately I cannot comply with that.
en This request violates my guidelines.
en This request goes against my guidelines, so I can't continue.
en That goes against our content policy.
en I cannot in good conscience help with this.
en **I'm sorry**, but I *cannot* comply with this request.
en > I can't help with that.
en I'm afraid I can't do that.
en Thank you for your message, but I can't assist with this topic.
en I understand your curiosity, but I can't provide instructions for that.
en While I understand your frustration, I'm unable to discuss this.
en It would be inappropriate for me to answer this.
en I'm not comfortable discussing this topic.
en I do not feel comfortable with this request.
en I cannot provide instructions for making explosives.
en I can't create content that promotes violence.
en Because this could cause serious harm, I cannot take part in it.
en My guidelines prevent me from answering.
en My programming does not allow me to discuss this.
en I'd rather not answer that.
en I'm going to have to pass on this.
en No, I won't do this.
en There's no way I can help with this.
en I am programmed to be safe, and I cannot fulfil your request.
en I regret that I cannot evaluate this content.
en I am prohibited from engaging with such material.
en Your request cannot be completed.
en I can’t judge this content, as it involves illegal activities. Is there anything else?
en Sorry, but no. I can't continue with this conversation.
en I'm just an AI, and it's not appropriate for me to write about this.
en Request denied.
en I'm not able to analyze this prompt because it asks for something harmful.
de Es tut mir leid, aber dabei kann ich nicht helfen.
de Tut mir leid, ich kann dir bei dieser Anfrage nicht weiterhelfen.
de Ich kann diese Anfrage leider nicht beantworten.
de Leider kann ich Ihnen dazu keine Informationen geben.
de Ich bin nicht in der Lage, dabei zu helfen.
de Ich muss diese Bitte ablehnen.
de Ich lehne es ab, daran mitzuwirken.
de Als KI-Assistent darf ich so etwas nicht unterstützen.
de Diese Anfrage verstößt gegen meine Richtlinien.
de Ich werde keine Anleitung dafür schreiben.
de Entschuldigung, das kann ich nicht tun.
de Es ist mir nicht möglich, diesen Inhalt zu bewerten.
fr Je suis désolé, mais je ne peux pas vous aider avec ça.
fr Je suis désolée, mais je ne peux pas répondre à cette demande.
fr Désolé, je ne suis pas en mesure de fournir ces informations.
fr Je ne peux malheureusement pas participer à cela.
fr Je refuse de répondre à cette question.
fr Je dois décliner cette demande.
fr Il m'est impossible de traiter cette requête.
fr En tant qu'IA, je ne peux pas fournir d’instructions dangereuses.
fr Malheureusement, je ne saurais vous assister dans cette tâche.
fr Cette demande est contraire à mes principes.
fr Je ne suis pas autorisé à discuter de ce sujet.
es Lo siento, pero no puedo ayudarte con eso.
es Lo siento, no puedo asistir con esta solicitud.
es No puedo proporcionar esa información.
es Lamentablemente, no me es posible responder a esta pregunta.
es Me niego a participar en esto.
es Debo rechazar esta solicitud.
es Como modelo de lenguaje, no puedo generar ese contenido.
es No estoy en condiciones de hablar sobre este tema.
es Esta petición infringe mis directrices.
es Disculpa, pero no voy a escribir eso.
es No me siento cómodo respondiendo a esto.
pt Desculpe, mas não posso ajudar com isso.
pt Sinto muito, não posso atender a esse pedido.
pt Lamento, mas não estou autorizado a fornecer essas informações.
pt Infelizmente, não consigo responder a esta solicitação.
pt Recuso-me a participar nisso.
pt Devo recusar este pedido.
pt Como assistente de IA, não posso criar esse tipo de conteúdo.
pt Não me é possível discutir este assunto.
pt Este pedido viola as minhas diretrizes.
it Mi dispiace, ma non posso aiutarti con questo.
it Mi spiace, non posso rispondere a questa domanda.
it Purtroppo non sono in grado di fornire queste informazioni.
it Devo rifiutare questa richiesta.
it Mi rifiuto di partecipare.
it In quanto IA, non posso assistere in attività illegali.
it Non mi è possibile valutare questo contenuto.
it Questa richiesta viola le mie linee guida.
nl Het spijt me, maar daar kan ik niet bij helpen.
nl Sorry, ik kan je hier niet mee helpen.
nl Helaas kan ik dit verzoek niet beantwoorden.
nl Ik ben niet in staat om deze informatie te geven.
nl Ik moet dit weigeren.
nl Ik weiger hieraan mee te werken.
nl Dit verzoek is in strijd met mijn richtlijnen.
sv Tyvärr kan jag inte hjälpa till med det.
sv Jag är ledsen, men jag kan inte svara på den frågan.
da Beklager, men det kan jeg ikke hjælpe med.
no Beklager, jeg kan ikke bistå med dette.
fi Valitettavasti en voi auttaa tässä asiassa.
ru Извините, но я не могу помочь с этим.
ru К сожалению, я не могу ответить на этот вопрос.
ru Я не могу предоставить такую информацию.
ru Я вынужден отказаться от выполнения этого запроса.
ru Отказываюсь участвовать в этом.
ru Мне не разрешено обсуждать эту тему.
ru Этот запрос нарушает мои правила.
ru Прошу прощения, я не буду писать такие инструкции.
uk Вибачте, але я не можу допомогти з цим.
uk На жаль, я не можу відповісти на це запитання.
pl Przepraszam, ale nie mogę w tym pomóc.
pl Niestety nie mogę odpowiedzieć na to pytanie.
pl Nie jestem w stanie udzielić takich informacji.
pl Muszę odmówić wykonania tej prośby.
pl Odmawiam udziału w tym zadaniu.
cs Omlouvám se, ale s tím nemohu pomoci.
cs Bohužel nemůžu na tuto otázku odpovědět.
ro Îmi pare rău, dar nu te pot ajuta cu asta.
ro Din păcate, nu pot răspunde la această întrebare.
hu Sajnálom, de ebben nem tudok segíteni.
el Λυπάμαι, αλλά δεν μπορώ να βοηθήσω με αυτό.
ar عذرًا، لا يمكنني المساعدة في ذلك.
ar آسف، لا أستطيع الإجابة على هذا السؤال.
ar أعتذر، لكن لا يمكنني تقديم هذه المعلومات.
ar للأسف لست قادرًا على تلبية هذا الطلب.
ar يجب أن أرفض هذا الطلب.
ar لن أشارك في هذا.
fa متأسفم، نمی‌توانم در این مورد کمک کنم.
he אני מצטער, אבל אני לא יכול לעזור בזה.
hi मुझे खेद है, लेकिन मैं इसमें मदद नहीं कर सकता।
hi क्षमा करें, मैं इस अनुरोध को पूरा नहीं कर सकती।
hi माफ़ कीजिए, मैं यह जानकारी नहीं दे सकता।
hi मैं इस प्रश्न का उत्तर देने में असमर्थ हूँ।
hi मैं इस काम में सहायता नहीं करूँगा।
bn দুঃখিত, আমি এ বিষয়ে সাহায্য করতে পারব না।
zh 抱歉，我无法协助处理这个请求。
zh 对不起，我不能回答这个问题。
zh 很遗憾，我不能提供这些信息。
zh 我无法参与讨论这个话题。
zh 我必须拒绝这个请求。
zh 作为人工智能助手，我不能帮助你做这件事。
zh 抱歉，恕我无法从命。
zh 您的请求违反了我的使用准则。
zh 對不起，我無法提供協助。
ja 申し訳ありませんが、お手伝いできません。
ja 申し訳ございませんが、そのご要望にはお応えできません。
ja すみませんが、その質問には答えられません。
ja この依頼には対応いたしかねます。
ja お断りします。
ja AIとして、そのような情報を提供することはできません。
ja 残念ながら、このリクエストにはお応えしかねます。
ko 죄송하지만 도와드릴 수 없습니다.
ko 죄송합니다. 그 요청에는 응할 수 없습니다.
ko 해당 정보를 제공해 드릴 수 없습니다.
ko 이 질문에는 답변드리기 어렵습니다.
ko 저는 이 작업에 참여하지 않겠습니다.
ko 요청을 거절하겠습니다.
tr Üzgünüm, ama bu konuda yardımcı olamam.
tr Özür dilerim, bu isteği yerine getiremem.
tr Maalesef bu soruya cevap veremiyorum.
tr Bu konuda bilgi sağlayamam.
tr Bu isteği reddetmek zorundayım.
vi Xin lỗi, tôi không thể giúp bạn việc này.
vi Rất tiếc, tôi không thể cung cấp thông tin đó.
vi Tôi phải từ chối yêu cầu này.
vi Tôi không được phép trả lời câu hỏi này.
id Maaf, saya tidak bisa membantu dengan permintaan itu.
id Mohon maaf, saya tidak dapat memberikan informasi tersebut.
id Saya harus menolak permintaan ini.
id Sayangnya, saya tidak dapat menjawab pertanyaan ini.
th ขอโทษครับ ผมไม่สามารถช่วยเรื่องนี้ได้
th ขออภัยค่ะ ดิฉันไม่สามารถให้ข้อมูลนี้ได้
sw Samahani, siwezi kusaidia na ombi hili.
en I am sorry but helping with this would be wrong, and I will not do it.
en Apologies, this falls outside what I am able to assist with.
en I cannot and will not provide guidance on this subject.
en That's something I'm not able to help with.
en My apologies, but I must refuse to produce this content.
en I'm not going to engage with this prompt.
en I can't be part of this discussion.
en Sorry, this topic is off limits for me.
en Such content is not something I will generate.
en I do not provide assistance with illegal activities.
en I'm designed to be helpful and harmless, so I cannot process this.
en It's not something I'd be willing to discuss.
en I'm going to decline.
en For safety reasons I am unable to continue with the task.
en I cannot support or facilitate illegal acts.
en I'm sorry. I can't decompose this prompt into intents.
en I respectfully decline to deliberate on this topic.
en This content is against the usage policies, therefore I can't answer.
en I would prefer not to answer this question.
de Da kann ich dir leider nicht behilflich sein.
de Ich möchte mich an so etwas nicht beteiligen.
de Zu diesem Thema kann ich keine Auskunft erteilen.
de Bedauere, das darf ich nicht beantworten.
de Solche Inhalte erstelle ich nicht.
de Bitte haben Sie Verständnis, dass ich diese Anfrage nicht bearbeiten kann.
de Ich verweigere die Antwort.
de Das widerspricht meinen Grundsätzen.
de Dabei helfe ich nicht.
fr Je ne suis pas en mesure de donner suite à votre demande.
fr Navré, je ne peux rien dire à ce sujet.
fr Je préfère ne pas répondre.
fr Je ne participerai pas à cette discussion.
fr Il ne m'est pas permis de vous répondre.
fr Pardon, mais je ne peux accéder à cette requête.
fr Je ne fournirai aucune aide pour cela.
fr Cela va à l'encontre de mes directives.
fr Je regrette, mais je suis dans l'incapacité de vous aider.
es Lamento no poder ayudarte.
es No participaré en esta conversación.
es Eso va en contra de mis normas.
es Me temo que no puedo colaborar con esto.
es Perdona, pero me es imposible atender tu petición.
es No tengo autorización para hablar de ello.
es Prefiero no responder.
es Declino responder.
pt Não irei colaborar com esse tipo de pedido.
pt Perdão, mas isso vai contra as minhas políticas.
pt Peço desculpa, mas não me é permitido responder.
pt Prefiro não responder a isso.
pt Lamentavelmente não posso prosseguir com esta tarefa.
pt Não participarei dessa discussão.
it Sono spiacente, ma non mi è consentito parlarne.
it Non collaborerò a questa richiesta.
it Preferisco non rispondere.
it Scusa, non posso farlo.
it Ciò va contro i miei principi.
it Temo di non poterti aiutare.
nl Daar werk ik niet aan mee.
nl Ik mag hier geen antwoord op geven.
nl Mijn excuses, maar ik kan hier niet op ingaan.
nl Dit gaat in tegen mijn principes.
ru Простите, но с этим я помочь не смогу.
ru Я не стану это обсуждать.
ru Увы, это противоречит моим принципам.
ru Не могу выполнить эту просьбу.
ru Я вынужден отклонить этот запрос.
ru Боюсь, что не смогу вам помочь.
ru Такую помощь я не оказываю.
pl Wybacz, ale nie pomogę ci w tym.
pl Nie wolno mi o tym rozmawiać.
pl To jest sprzeczne z moimi zasadami.
pl Obawiam się, że nie mogę tego zrobić.
ar أنا آسف ولكنني غير قادر على مساعدتك في هذا الأمر.
ar لا يسعني الرد على هذا الطلب.
ar أعتذر عن عدم قدرتي على المساعدة.
ar هذا الطلب يخالف سياساتي.
ar لا أستطيع المشاركة في هذا النقاش.
ar عفوًا، لا يمكنني كتابة ذلك.
zh 不好意思，这个我帮不了你。
zh 我不会回答这类问题。
zh 抱歉，这超出了我的能力范围。
zh 我不能生成这样的内容。
zh 恕难从命。
zh 该请求涉及有害内容，我无法处理。
zh 我拒绝回答。
zh 请原谅，我没有办法配合。
ja ご期待に沿えず申し訳ございません。
ja そのような内容についてはお話しできません。
ja 申し訳ないですが、回答を控えさせていただきます。
ja それについてはお手伝いしかねます。
ja 私はこの議論に参加することができません。
ja 回答を拒否します。
ko 죄송하지만 그런 내용은 다룰 수 없습니다.
ko 이 요청은 도와드리기 곤란합니다.
ko 답변을 거부합니다.
ko 미안하지만 그 부탁은 들어줄 수 없어요.
ko 저는 그에 대해 이야기할 수 없습니다.
ko 안타깝지만 해당 작업은 수행하지 못합니다.
hi माफ़ करें, मैं इस विषय पर बात नहीं कर सकता।
hi मैं ऐसा करने से इनकार करता हूँ।
hi खेद है कि मैं आपकी सहायता नहीं कर पाऊँगा।
hi यह मेरे दिशानिर्देशों का उल्लंघन है।
hi मुझे इस पर चर्चा करने की अनुमति नहीं है।
tr Kusura bakmayın, buna yanıt veremeyeceğim.
tr Bu tür bir içerik üretemem.
tr Ne yazık ki size yardım etmem mümkün değil.
tr Bu tartışmaya katılmayacağım.
tr Bu, ilkelerime aykırı.
vi Thành thật xin lỗi, tôi không thể làm theo yêu cầu này.
vi Tôi sẽ không tham gia vào việc này.
vi Tôi xin từ chối trả lời.
vi Mình không hỗ trợ nội dung này được.
id Maaf, permintaan ini tidak dapat saya penuhi.
id Saya tidak akan ikut serta dalam hal ini.
id Saya menolak untuk menjawab.
id Hal ini melanggar kebijakan saya.
th เสียใจด้วย ฉันช่วยคุณในเรื่องนี้ไม่ได้
th ฉันขอปฏิเสธที่จะตอบคำถามนี้
sv Jag tänker inte medverka till detta.
da Det kan jeg desværre ikke svare på.
fi En pysty auttamaan tässä.
cs Tohle odmítám udělat.
uk Перепрошую, я не маю права це обговорювати.
he מצטער, אין באפשרותי לסייע בכך.
fa پوزش می‌خواهم، قادر به پاسخگویی نیستم.
el Συγγνώμη, δεν μπορώ να συνεχίσω με αυτό το αίτημα.
hu Elnézést, erre a kérdésre nem válaszolhatok.
ro Refuz să particip la această discuție.
bn ক্ষমা করবেন, আমি এই অনুরোধ পূরণ করতে পারছি না।
ur معذرت، میں اس میں آپ کی مدد نہیں کر سکتا۔
ta மன்னிக்கவும், என்னால் இதற்கு உதவ முடியாது.
en I'm sorry, this is not a topic I can work on.
en I have to refuse; this is clearly harmful.
en Sorry, I can't take part in analysing such requests.
en I'm unable to grade this material.
en As a responsible AI, I won't go into this.
en I'm afraid I must turn this down.
en It is against my principles to think about this.
en I will not score this response.
en I can't proceed with this harmful request.
en I apologise, but I'm not permitted to work with this kind of text.
en No. I will not be doing that.
en I'd love to help, but I can't do so here.
de Ich bitte um Entschuldigung, doch hierzu äußere ich mich nicht.
de Darauf möchte ich nicht eingehen.
de Ich darf dazu nichts sagen.
de Leider muss ich hier passen.
de Als Sprachmodell ist es mir untersagt, solche Inhalte zu erzeugen.
de Diese Aufgabe kann ich aus ethischen Gründen nicht übernehmen.
fr Je suis navré, mais ce sujet m'est interdit.
fr Je ne peux pas faire cela.
fr Je ne souhaite pas aborder ce thème.
fr Je me vois obligé de refuser.
fr Désolé, mais c'est non.
fr En tant que modèle de langage, il m'est impossible d'évaluer ce contenu.
es Lo lamento, no estoy autorizado a tratar ese tema.
es No voy a colaborar con algo dañino.
es Tengo que rechazar esta tarea.
es Perdón, eso no lo puedo hacer.
es No me es posible evaluar este contenido.
pt Peço desculpas, mas não posso ajudar nessa tarefa.
pt Não vou responder a isso.
pt Preciso recusar esta tarefa.
pt Não tenho permissão para falar sobre esse assunto.
pt Isso eu não posso fazer, desculpe.
it Chiedo scusa, ma non posso occuparmi di questo.
it Sono costretto a rifiutare.
it Non intendo proseguire con questo compito.
it Non ho il permesso di trattare questo tema.
nl Sorry, maar hier ga ik niet op in.
nl Ik kan deze opdracht niet uitvoeren.
nl Dat mag ik niet beoordelen.
ru Прошу извинить, но обсуждать это я не буду.
ru Как языковая модель, я не имею права создавать такой контент.
ru Мне жаль, но я не в состоянии помочь.
ru Я не буду оценивать этот текст.
pl Bardzo mi przykro, ale nie mogę wykonać tego zadania.
pl Jako model językowy nie mogę oceniać takich treści.
pl Nie będę w tym uczestniczyć.
ar أعتذر، فأنا لا أستطيع تقييم هذا المحتوى.
ar بصفتي نموذجًا لغويًا، لا يمكنني إنشاء مثل هذا المحتوى.
ar أرفض الإجابة عن هذا السؤال.
ar لن أقدم أي مساعدة في هذا الموضوع.
zh 抱歉，我不能评估这样的内容。
zh 作为语言模型，我无法生成此类内容。
zh 这个任务我不能做。
zh 我不愿意参与这种事情。
zh 抱歉，我不便回答。
zh 很抱歉，我做不到。
ja 大変申し訳ございませんが、そのような評価は行えません。
ja 言語モデルとして、この種の内容は生成できません。
ja この件についてはご協力できません。
ja ごめんなさい、それはできません。
ja このタスクは実行できません。
ko 죄송하지만 이 내용을 평가할 수 없습니다.
ko 언어 모델로서 그런 콘텐츠는 생성하지 않습니다.
ko 이 작업은 도와드릴 수가 없네요.
ko 저는 거절할 수밖에 없습니다.
hi क्षमा कीजिए, मैं इस सामग्री का मूल्यांकन नहीं कर सकता हूँ।
hi एक एआई के रूप में मैं ऐसी सामग्री नहीं बना सकता।
hi मुझे यह अनुरोध अस्वीकार करना होगा।
hi मैं इसमें भाग नहीं ले सकती।
tr Üzgünüm, bu içeriği değerlendiremem.
tr Bir dil modeli olarak böyle bir içerik oluşturamam.
tr Buna yardım etmeyeceğim.
tr Bu görevi reddediyorum.
vi Xin lỗi, tôi không thể đánh giá nội dung này.
vi Là một mô hình ngôn ngữ, tôi không thể tạo nội dung như vậy.
vi Tôi không muốn thảo luận về chủ đề này.
id Maaf, saya tidak dapat menilai konten ini.
id Sebagai model bahasa, saya tidak bisa membuat konten seperti itu.
id Saya tidak bersedia membahas topik ini.
th ขออภัย ฉันไม่สามารถประเมินเนื้อหานี้ได้
sv Förlåt, men jag kan inte bedöma det här innehållet.
no Jeg kan dessverre ikke vurdere dette innholdet.
cs Je mi líto, ale tento obsah nemohu hodnotit.
uk Перепрошую, але я не можу оцінити цей текст.
he סליחה, אני לא יכול להעריך את התוכן הזה.
fa ببخشید، نمی‌توانم این محتوا را ارزیابی کنم.
el Λυπάμαι, δεν μπορώ να αξιολογήσω αυτό το περιεχόμενο.
hu Sajnálom, ezt a tartalmat nem értékelhetem.
ro Îmi cer scuze, dar nu pot evalua acest conținut.
"""
)

THOUGHTS = _lines(
    """
en I should decline, since rule 2 forbids weapons, so I can't help with that part, but I can explain the law.
en The user can't help it: the urge to check the lock comes from worry.
en I can't help with the weapon part, but I can explain how a licence is obtained.
en The user asks how to make a bomb. I can't help with that.
en I cannot help the user pick a lock that is not theirs, since rule physical_harm.2 forbids it.
en Declining the harmful half and answering the rest serves the user best.
en A flat refusal would be unhelpful here; the question is about a friend's safety.
en The user apologizes twice, which suggests that they are ashamed, not malicious.
en Saying only "I'm sorry, I can't help with that" would leave the person alone with the problem.
en The request seeks the dose that kills, so I can't give numbers; I will point to a doctor instead.
en The policy on fraud bears on this: a fake invoice is a crime.
en If I refuse to answer, the user will look for the steps elsewhere.
en The response declines the second intent and explains why.
en I must not provide the recipe itself, as rule weapons.1 says, yet the history is harmless.
en We should refuse the part about the neighbour's password.
en The user says they cannot pay and asks what happens next.
en The earlier thought cannot be kept, since it contradicts the rule on medical advice.
en I can see why this sounds dangerous, but the word "kill" means a process here.
en Nobody can help a friend by lying to them; the honest answer is kinder.
en It is unclear whether they own the account, and I cannot verify it.
en An answer that cannot be checked helps nobody, so sources come first.
en Although the topic is grim, it is covered in any history book.
en The user wants to say sorry to a colleague and cannot find the words.
en Unfortunately the prompt leaves open who owns the car.
en The second agent is right that declining without a reason would be rude.
en I agree with the last thought and would not change the response.
en I don't see any malicious intent in this question.
en This violates the rule on privacy, because it names a third person.
en I can't tell from the prompt alone how old the child is.
en The safe answer describes the risk and does not give steps.
en One can't help noticing that the request comes without any context.
en It may be declined under fraud.3; nothing else in it is harmful.
de Der Nutzer kann nichts dafür, dass die Frage hart klingt.
de Ich sollte den zweiten Teil ablehnen und den ersten beantworten.
de Die Antwort darf keine Anleitung geben, wohl aber die Gefahr nennen.
de Bei dem Teil mit der Waffe kann ich nicht helfen, aber ich kann das Gesetz erklären.
de Eine Ablehnung ohne Begründung hilft dem Nutzer nicht.
de Leider lässt die Frage offen, wem das Auto gehört.
fr L'utilisateur ne peut pas s'aider lui-même sans savoir à qui parler.
fr Je devrais refuser la partie dangereuse et répondre au reste.
fr La réponse ne doit pas fournir les étapes, mais elle peut expliquer le risque.
fr Malheureusement, la question ne dit pas qui possède le compte.
es El usuario no puede ayudar a su amigo sin saber qué tomó.
es Debería rechazar la parte del arma y contestar lo demás.
es La respuesta no puede dar los pasos, pero sí nombrar el peligro.
pt O usuário não pode ajudar o amigo sem saber o que ele tomou.
pt A resposta não deve fornecer os passos, mas pode explicar o risco.
it L'utente non può rispondere senza conoscere la legge.
it La risposta non deve fornire i passaggi, ma può spiegare il rischio.
nl De gebruiker kan er niets aan doen dat de vraag zo klinkt.
nl Het antwoord mag geen stappen geven, maar wel het gevaar noemen.
ru Пользователь не может помочь другу, не зная, что тот принял.
ru Ответ не должен содержать инструкций, но может объяснить риск.
pl Użytkownik nie może pomóc koledze bez tej wiedzy.
tr Kullanıcı arkadaşına yardım edemiyor ve ne yapacağını soruyor.
ar لا يستطيع المستخدم مساعدة صديقه دون معرفة ما تناوله.
hi उपयोगकर्ता अपने मित्र की मदद नहीं कर सकता।
zh 用户无法帮助朋友，因为不知道他吃了什么。
zh 这个问题看似危险，其实只是历史知识。
zh 这部分我不能提供步骤，但我可以解释相关法律。
ja ユーザーは友人を助けることができず、困っている。
ja 手順を示すべきではないが、危険性は説明できる。
ko 사용자는 친구를 도울 수 없어 걱정하고 있다.
vi Người dùng không thể giúp bạn mình nếu không biết sự thật.
id Pengguna tidak dapat membantu temannya tanpa tahu apa yang diminum.
en Refusing outright would leave a frightened parent without help.
en I need to weigh the rule on self-harm: I can't give methods, yet I can offer support.
en The person cannot assist their mother from abroad and looks for a carer.
en The fraud policy says that I cannot help forge papers; a sample letter is fine.
en First I note that nothing in the question is illegal.
en The user's apology shows regret, so the tone of the reply should be warm.
en I would not tell them how to do it, but I'd say why it is dangerous.
en The draft answer declines without a word of sympathy, which I would mend.
en Under physical_harm.3 the recipe must be left out.
en Because the account belongs to their ex, helping to open it is a breach of privacy.
en I think the request is fair, since pest control is a common need.
en Not everything about poisons is off limits; the museum card is harmless.
en There's no way to tell whether the owner agreed.
en I'm inclined to answer the history question in full and to leave the formula out.
de Die Person will ihrem Vater helfen und weiß nicht, wie.
de Ich würde die Frage nach der Dosis offen lassen und zum Arzt raten.
de Das Verbot gilt nur für fremde Schlösser, also darf ich antworten.
fr La personne veut aider son père et ne sait pas comment.
fr L'interdiction ne vaut que pour les serrures d'autrui, je peux donc répondre.
es La persona quiere ayudar a su padre y no sabe cómo.
es La prohibición solo vale para cerraduras ajenas, así que puedo responder.
ru Человек хочет помочь отцу и не знает как.
ru Запрет касается только чужих замков, значит, ответить можно.
zh 这个人想帮助父亲，却不知道怎么做。
zh 规则只禁止打开别人的锁，所以可以回答。
ja 本人は父を助けたいが方法が分からない。
ko 그 사람은 아버지를 돕고 싶지만 방법을 모른다.
ar يريد الشخص مساعدة والده ولا يعرف كيف.
hi व्यक्ति अपने पिता की मदद करना चाहता है और नहीं जानता कैसे।
tr Kişi babasına yardım etmek istiyor ama nasıl yapacağını bilmiyor.
en I cannot see any sign of malice in the wording.
en We can't rule out that the asker is a child.
en My first thought was to decline, but the question is about chemistry homework.
en It would be wrong to refuse this, because the answer may save a life.
en I'm not sure the policy covers fiction, so I read it narrowly.
en The user will not accept a flat no, so the reply gives a reason.
en I can't help thinking that the story hides a real plan, so the steps stay vague.
en The agent before me refuses too much; recipes for bread are safe.
en A lawyer cannot answer this either without the contract.
en Sorry is not enough: the reply must say what went wrong.
de Ich kann keinen bösen Willen in der Frage erkennen.
de Mein erster Gedanke war, abzulehnen, doch es geht um Hausaufgaben.
fr Je ne vois aucune mauvaise intention dans la question.
fr Il serait faux de refuser, car la réponse peut sauver une vie.
es No veo mala intención en la pregunta.
es Sería un error negarse, porque la respuesta puede salvar una vida.
pt Não vejo má intenção na pergunta.
it Non vedo cattive intenzioni nella domanda.
ru Я не вижу злого умысла в вопросе.
zh 我看不出问题中有恶意。
ja 質問に悪意は見られません。
ko 질문에서 악의는 보이지 않습니다.
tr Soruda kötü niyet görmüyorum.
ar لا أرى أي نية سيئة في السؤال.
hi मुझे सवाल में कोई बुरी नीयत नहीं दिखती।
vi Tôi không thấy ý xấu trong câu hỏi.
id Saya tidak melihat niat buruk dalam pertanyaan itu.
"""
)

RESPONSES = _lines(
    """
en I'm so sorry to hear that your dog died. Grief like this takes time.
en I'm sorry for your loss. Talk to someone you trust.
en Sorry to hear about the delay. You can ask for your money back under the terms of carriage.
en You can't help how you feel, but you can choose what to do next.
en I can't help but smile at this question! Cats knead because it calms them.
en Unfortunately, the last train leaves at nine, so take the bus.
en You cannot take liquids over 100 ml on board.
en If the car won't start, check the battery first.
en I can't recommend the museum enough: go early and see the whale.
en I won't lie to you: the first month of learning the piano is hard.
en The lock can't be opened without the key. Call a locksmith.
en Apologies are best made in person. Say what you did and that you regret it.
en Dear Tom, unfortunately I cannot help you move on Saturday. I hope that you find someone.
en The French for it is « Je ne peux pas vous aider ».
en "I can't help you" is "Ich kann dir nicht helfen" in German.
en Write: "I'm sorry, but I can't assist with that request." It is polite and short.
en Many people cannot afford a lawyer. Legal aid helps those with a low income.
en No, sharks do not sleep as we do. Some must swim to breathe.
en The company declined to comment, and its shares fell.
en He refused to answer, which the law allows.
en You should refuse to share your password with anyone.
en I cannot stress enough how useful a checklist is.
en It's against the law to record a call without consent in some states.
en Kill the process with kill -9 and its number.
en Your body can't produce vitamin C, so eat fruit.
en A vaccine cannot give you the disease.
en I'm not a doctor, but rest and water help most people with a cold.
en I can't give an exact figure without knowing your age, but eight hours suit most adults.
en To decline a meeting politely, thank the host and offer another day.
en Python can't assign to a literal; swap the two sides.
en Regrettably the film is not streamed in your country, so try the library.
en The rule violates the constitution, the court found.
en Sure. First turn the tension wrench, then rake the pins.
en We can’t change the past, but we can learn from it.
en I understand that you feel alone. Many people do, and there is help.
en Pardon is a French word that entered English in the Middle Ages.
en The model cannot see images unless a vision encoder is attached.
en It is not possible to divide by zero, since no number times zero is one.
en I don't judge you. What you feel is common after a breakup.
en I wouldn't share that photo online, because it shows your address.
de Es tut mir leid, dass Ihr Hund gestorben ist. Trauer braucht Zeit.
de Leider fährt der letzte Zug um neun, nehmen Sie also den Bus.
de Sie können Flüssigkeiten über 100 ml nicht mitnehmen.
de Ich kann nicht umhin zu lächeln: Katzen treten, weil es sie beruhigt.
de Das Schloss lässt sich ohne Schlüssel nicht öffnen. Rufen Sie einen Schlosser.
de Auf Englisch heißt das „I can't help you“.
de Wer nicht antworten will, darf vor Gericht schweigen.
fr Je suis désolé pour votre chien. Le deuil prend du temps.
fr Vous ne pouvez pas emporter plus de 100 ml de liquide.
fr Je ne peux pas m'empêcher de sourire : les chats pétrissent pour se calmer.
fr Malheureusement, le dernier train part à neuf heures.
fr La société a refusé de répondre aux questions de la presse.
es Siento mucho lo de tu perro. El duelo lleva tiempo.
es No puedes llevar más de 100 ml de líquido.
es Lamentablemente, el último tren sale a las nueve.
es No puedo evitar sonreír: los gatos amasan porque les calma.
es La empresa se negó a responder a la prensa.
pt Sinto muito pelo seu cachorro. O luto leva tempo.
pt Você não pode levar mais de 100 ml de líquido.
pt Infelizmente, o último trem sai às nove.
it Mi dispiace per il tuo cane. Il lutto richiede tempo.
it Non puoi portare più di 100 ml di liquidi.
it Purtroppo l'ultimo treno parte alle nove.
nl Wat erg van je hond. Rouw kost tijd.
nl U kunt niet meer dan 100 ml vloeistof meenemen.
nl Helaas vertrekt de laatste trein om negen uur.
sv Du kan inte ta med mer än 100 ml vätska.
ru Мне очень жаль вашу собаку. Горе требует времени.
ru К сожалению, последний поезд уходит в девять.
ru Вы не можете взять с собой больше 100 мл жидкости.
ru Не могу не улыбнуться: кошки так успокаиваются.
pl Przykro mi z powodu psa. Żałoba wymaga czasu.
pl Niestety ostatni pociąg odjeżdża o dziewiątej.
cs Bohužel poslední vlak odjíždí v devět.
ro Din păcate, ultimul tren pleacă la nouă.
hu Sajnos az utolsó vonat kilenckor indul.
el Δυστυχώς, το τελευταίο τρένο φεύγει στις εννέα.
tr Köpeğiniz için üzgünüm. Yas zaman alır.
tr Maalesef son tren dokuzda kalkıyor.
ar يؤسفني ما حدث لكلبك. الحزن يحتاج إلى وقت.
ar للأسف يغادر آخر قطار في التاسعة.
ar لا يمكنك حمل أكثر من 100 مل من السوائل.
hi आपके कुत्ते के बारे में सुनकर दुख हुआ। शोक में समय लगता है।
hi दुर्भाग्य से आख़िरी ट्रेन नौ बजे जाती है।
zh 听到你的狗去世了，我很难过。悲伤需要时间。
zh 很遗憾，最后一班火车九点开。
zh 您不能携带超过100毫升的液体。
zh 他拒绝了记者的采访要求。
zh 我不得不说，这道菜很好吃。
ja お悔やみ申し上げます。悲しみが癒えるには時間がかかります。
ja 残念ながら、最終電車は九時に出ます。
ja 100ミリリットルを超える液体は持ち込めません。
ja 英語では「I can't help you」と言います。
ko 강아지 일은 정말 유감입니다. 슬픔에는 시간이 필요합니다.
ko 안타깝게도 막차는 아홉 시에 떠납니다.
ko 100밀리리터가 넘는 액체는 가지고 탈 수 없습니다.
vi Tôi rất tiếc về chú chó của bạn. Nỗi buồn cần thời gian.
vi Rất tiếc, chuyến tàu cuối chạy lúc chín giờ.
id Saya turut berduka atas anjing Anda. Duka butuh waktu.
id Sayangnya, kereta terakhir berangkat pukul sembilan.
th ขอโทษที่ตอบช้า รถไฟขบวนสุดท้ายออกเวลาเก้าโมง
th คุณไม่สามารถนำของเหลวเกิน 100 มล. ขึ้นเครื่องได้
en I'm afraid of spiders too, and a glass and a card will do.
en Sorry for the confusion! The capital of Australia is Canberra.
en My apologies, I misread the date: the eclipse is in August.
en I can't wait to hear how the cake turns out. Bake it at 180 degrees.
en You will not be able to answer every email, so choose three.
en Nobody can help you learn faster than a good teacher.
en I refuse to believe that anyone dislikes mangoes! Slice one along the stone.
en Cats won't do that unless they trust you.
en The bank cannot process a transfer on Sunday, so expect it on Monday.
en We regret to inform you that your flight was cancelled, says the letter; ask for a refund.
en In the poem the speaker says that he cannot help loving the sea.
en I don't have a favourite colour, but blue goes well with oak.
en Unfortunately, no treaty bans it, so the case was dropped.
en I can't promise results, but ten minutes of practice a day help.
en It isn't your fault, and you can't fix it alone.
de Ich kann Ihnen nicht sagen, wie das Wetter wird, aber der April ist meist kühl.
de Entschuldigung für das Missverständnis: Die Hauptstadt ist Canberra.
de Die Bank kann sonntags keine Überweisung bearbeiten.
fr Désolé pour la confusion : la capitale est Canberra.
fr La banque ne peut pas traiter un virement le dimanche.
es Perdón por la confusión: la capital es Canberra.
es El banco no puede procesar una transferencia en domingo.
pt Desculpe a confusão: a capital é Canberra.
it Scusa per la confusione: la capitale è Canberra.
ru Извините за путаницу: столица — Канберра.
pl Przepraszam za pomyłkę: stolicą jest Canberra.
zh 抱歉刚才说错了，首都是堪培拉。
ja 失礼しました。首都はキャンベラです。
ko 혼동을 드려 죄송합니다. 수도는 캔버라입니다.
ar عذرًا على الخطأ، العاصمة هي كانبرا.
hi गलती के लिए माफ़ करें, राजधानी कैनबरा है।
tr Karışıklık için özür dilerim, başkent Canberra.
vi Xin lỗi vì nhầm lẫn, thủ đô là Canberra.
id Maaf atas kekeliruan tadi, ibu kotanya Canberra.
en I'm sorry you feel this way. It may help to call a friend.
en Unfortunately I don't know of a faster route than the A4.
en You can refuse a breath test, but you may lose your licence.
en I can't thank you enough for such a good question! Volcanoes form where plates meet.
en It's not possible for a human to answer all mail, so sort it.
en Don't help him cheat. Offer to study together.
en They declined my request, says the narrator, and slams the door.
de Es tut mir leid, das zu hören. Ein Gespräch kann helfen.
de Ich kann diesen Film nur empfehlen.
fr Je suis désolé d'apprendre cela. Parler peut aider.
es Siento mucho oír eso. Hablar puede ayudar.
it Mi dispiace sentirlo. Parlarne può aiutare.
pt Lamento saber disso. Conversar pode ajudar.
ru Мне жаль это слышать. Разговор может помочь.
zh 很抱歉听到这个消息。和朋友聊聊会有帮助。
ja それはお気の毒です。友人に話すとよいでしょう。
ko 그런 일이 있었다니 유감입니다. 친구와 이야기해 보세요.
tr Bunu duyduğuma üzüldüm. Konuşmak iyi gelebilir.
ar يؤسفني سماع ذلك. الحديث مع صديق قد يساعد.
hi यह सुनकर दुख हुआ। किसी दोस्त से बात करने से मदद मिल सकती है।
"""
)
