"""Words that occur in any request, by language: they tell no request from another."""

from collections.abc import Mapping

from aidsafe_dagster.sources.similarity import Words
from aidsafe_dagster.sources.wording import normalised_words

_TEXTS = {
    "en": """
a about above act advantages after again all also am an and answer any anyone anything are as ask
at be because been before being below best better between both but by can cannot cant come cons
could create describe detail detailed did difference differences different disadvantages do does
doesnt doing done dont down during each easiest easy effective else ever every everyone everything
example examples explain explanation few find first following for from get give go going good got
guide had happen happened has have having he help her here hers him his how i id if ill im in
instruction instructions into is isnt it its ive just keep kind know let like list long look made
make makes making many may me mean might more most much must my need never new no not now of off
on once one only or other others our out over own paragraph people person please possible pros
provide put question questions quick quickest quickly really reasons respond rid role same say see
short should show simple so some someone something start step steps still such sure take tell than
that thats the their them then there these they thing things think this those through tip tips to
too try under until up us use used using very want was way ways we well were what whats when where
which while who whom whose why will with without wont work works would write yes you your youre
yours
""",
    "de": """
aber alle allem allen aller alles als also am an andere anderen auch auf aus bei beim beispiel
beispiele beste besten bin bis bitte brauche da damit dann das dass dazu dein deine dem den denn
der des die dies diese diesem diesen dieser dieses dir doch du durch ein eine einem einen einer
eines einfach er erklare es etwas fur gegen geht gern gibt gut gute habe haben hat hatte helfen
hilf hier ich ihm ihn ihr ihre im in ins ist jemand jemanden jetzt kann kannst kein keine konnen
konnte leute mache machen macht man mehr mein meine meinem meinen meiner meines mich mir mit
moglich moglichkeit mochte muss mussen nach nicht nichts noch nur ob oder ohne sage sagen schon
schreib schreibe sehr sei sein seine seit sich sie sind so soll sollte sollten tipps tun uber um
und uns unter viel viele vom von vor warum was weg wege welche welcher welches wenn wer werden wie
wieder will wir wird wo wurde wurden zu zum zur zwischen
""",
    "fr": """
a ai aide aider ainsi alors apres as au aucun aussi autre autres aux avant avec avoir bien bon
bonne ca ce cela ces cet cette chose choses ci comme comment conseils dans de des deux dis doit
donc donne donner du elle elles en encore est et etait etape etapes etes etre exemple exemples
expliquer explique faire fait faut il ils je jai la le les leur leurs lui ma maniere me meilleur
meilleure meilleures meme merci mes mieux moi mon ne non nos notre nous on ont ou par pas personne
peu peut peux plus pour pourquoi pouvez puis puisje qu quand que quel quelle quelles quelquun
quels qui quoi sa sans se ses si son sont sur ta te tes toi ton tous tout toute toutes tres tu un
une utiliser vers veux vos votre vous y
""",
    "es": """
a al algo alguien algun alguna algunas algunos ante antes asi aunque ayuda ayudar bien bueno buena
cada como con consejos contra cosa cosas cual cuales cuando cuanto dame de deberia del desde di
dime donde dos el ella ellas ellos en entre era eres es esa ese eso esta estan estas este esto
estos estoy explica explicar favor forma formas fue gente ha hacer haces hacia hago hasta hay he
la las le les lo los manera maneras mas me mejor mejores mi mis mucho muy nada necesito ni no nos
o otra otro otros para paso pasos pero persona personas poco podria por porque puede puedes puedo
pues que quien quiero saber se sea ser si sin sobre solo son su sus tambien tan te tener tengo ti
tiene todo todos tu tus un una unas uno unos usar usted ya yo
""",
    "it": """
a ad agli ai aiuta aiutare al alla alle allo altro anche avere bene c che chi ci come con consigli
cosa cosi cui da dai dal dalla degli dei del della delle dello di dimmi dire dove due e ed era
esempi esempio essere fa fare fino gente gli grazie ha hai hanno ho i il in io la le lei lo loro
lui ma me meglio mi mia miei migliore migliori mie mio modi modo molto ne nei nel nella nelle non
nostro o ogni passi per perche piu poi posso possono prima puo puoi qual quale quali qualcuno
quando quanto quello questa queste questi questo qui se sei senza si sia sono spiega sta su sua
sue sugli sul sulla suo suoi tra tu tua tuo tutti tutto un una uno usare vi voglio voi
""",
    "pt": """
a ai ajuda ajudar alguem algum alguma algo ao aos aquele as assim ate bem boa bom cada coisa
coisas com como contra da dar das de dela dele depois deve dicas diga do dois dos e ela elas ele
eles em entre era essa esse esta estao estas estava este eu exemplo exemplos explique faco fazer
foi forma formas gente ha isso isto ja la lhe lo mais mas me melhor melhores mesmo meu meus minha
minhas muito na nada nao nas nem no nos nossa nosso num numa o onde os ou outra outro para passo
passos pela pelo pessoa pessoas pode podem posso por porque pra preciso qual quais qualquer quando
quanto que quem quero saber se sem ser seu seus sim sobre sou sua suas tambem te tem tenho ter
toda todos tudo um uma usar voce voces
""",
    "ru": """
а без бы был была были было быть в вам вас весь во вот все всего всех вы где да для до его ее если
есть еще же за и из или им их к как какая какие какой ко когда кого кто ли лучше лучший лучшие
меня мне могу может можно мой моя моего мы на над надо нам нас не него нее нет ни них но нужно о
об он она они от по подробно пожалуйста помоги помогите почему при пример примеры про расскажи с
сделать себе себя со советы способ способы так также там тебя тем то того тоже только тот ты у уже
хочу чего человек чем что чтобы шаг шагов эта эти это этого этой этот я объясни напиши
""",
    "ar": """
في من على الى عن مع هذا هذه ذلك تلك التي الذي الذين ما ماذا لماذا كيف متى اين هل لا لم لن ان انا
انت هو هي هم نحن كان كانت يكون تكون قد كل بعض اي او و ثم لكن بل حتى اذا لو بعد قبل بين عند عندما
لدي لي له لها لهم بها به فيه فيها منه منها يمكن يمكنني يمكنك كيفيه اريد احتاج ساعدني اشرح اكتب
افضل طريقه طرق شخص احد شيء اشياء جدا ايضا فقط غير دون يجب علي هناك هنا مثال امثله خطوات نصاىح اكثر
""",
    "zh": """
一下不与个为么也了些什从他以们会何你到办可吗吧呢和哪啊在她好如它对就很怎想我或才把方是更最有样没法
的 种 给 能 被 要 让 请 谁 还 这 那 都 里 问
""",
    "ja": """
あいかがきくけこさしすせそただてでとどなにねのはばへまもやよらりるれをん下何教方法私
""",
}
_COMMON: Mapping[str, frozenset[str]] = {
    language: frozenset(normalised_words(text)) for language, text in _TEXTS.items()
}


def common_words(words: Words) -> frozenset[str]:
    """Return the common words of the language that most of the words are common in.

    Of several languages, the first: a word such as "die" is common in one and telling in another.
    """
    return max(
        _COMMON.values(), key=lambda common: sum(word in common for word in words)
    )
