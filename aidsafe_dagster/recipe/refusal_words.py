"""Words of refusals, by language: who does not, will not or may not, and what.

No sentence is listed as it stands. A clause refuses that holds a speaker who is unable or unwilling
(`unable`) and a service (`services`), in the order of the language, or one of the phrases that do
so alone (`alone`). All are regular expressions over folded text (`refusals.fold_text`), in which
`WORDS` and `CHARACTERS` stand for a gap. Where the verb comes first, as in Japanese, the services
stand under `unable`.
"""

import re
import unicodedata
from dataclasses import dataclass

LETTERS = {
    **dict.fromkeys(map(ord, "أإآٱ"), "ا"),
    ord("ى"): "ي",
    ord("\u0307"): None,
    ord("ё"): "е",
    # As `casefold` has them.
    ord("ß"): "ss",
    ord("ς"): "σ",
    ord("–"): ", ",
    ord("—"): ", ",
}
"""Letters that count as others, in texts and patterns."""


WORDS = "␣"
"""In a pattern: up to six words."""
CHARACTERS = "⋯"
"""In a pattern: up to thirty characters, where words have no spaces, or vowels are no letters."""


@dataclass(frozen=True)
class RefusalWords:
    """The words of one language."""

    unable: str = ""
    services: str = ""
    alone: str = ""
    gap: str = WORDS


_ENGLISH_ADVERBS = (
    r"(?:(?:just|also|still|afraid|must|so|do|\w+ly|have to|need to|then|at this time"
    r"|in good conscience|even|ever|here|not|am|to) )*"
)
_ENGLISH = RefusalWords(
    unable=(
        r"(?:\bi ?"
        + _ENGLISH_ADVERBS
        + r"(?:can't|cannot|cant|can not|can no longer|can in no way|won't|will not|wont|'ll not"
        r"|shall not|shan't|may not|(?:'?m|am) (?:\w+ly )?(?:unable to|incapable of|barred from"
        r"|prohibited from|forbidden (?:to|from)|restricted from|prevented from|unwilling to)"
        r"|(?:couldn't|could not) possibly|can neither|(?:wouldn't|would not) be"
        r"|(?:'?m|am) (?:\w+ly )?not (?:\w+ly )?(?:able|willing|allowed|permitted|going|comfortable"
        r"|authori[sz]ed|in (?:a|any) position|prepared|designed|programmed|equipped|supposed|built|meant"
        r"|at liberty|capable|qualified|here to|free|inclined|ready|in the business)"
        r"|'?ve been (?:instructed|told|trained) not to|(?:don't|do not) feel"
        r"|(?:don't|do not) (?:think|believe) i(?: can| should|'m able| am able)"
        r"|(?:don't|do not) have (?:the |any )?(?:ability|permission|authori\w+|freedom|right|capacity)"
        r"|(?:'d|would) rather not|(?:'d |would )?prefer not|have no (?:intention|way|permission)"
        r" (?:of|to))"
        r"|^(?:(?:sorry|apologies|unfortunately|regrettably|no|but|and|yet),? )*"
        r"(?:cannot|can't|won't|unable to|not able to|not going to|will not)"
        r"|\b(?:not|n't) (?:possible|appropriate|right|ethical|allowed|permitted|something|acceptable)"
        r"(?: that| which)?(?: for)? (?:i|me)\b(?: to| can| could| will| would)?"
        r"|\b(?:inappropriate|unethical|irresponsible|wrong|impossible) for me to"
        r"|\b(?:not|n't) (?:something|a (?:thing|topic|task|request|subject|matter)) (?:that |which )?"
        r"i(?:'m| am| can| could| will| would| feel|'d|'ll)?"
        r"|\bno way i(?:'ll| will|'m going to| am going to| can| would|'d)"
        r"|\bnothing (?:that )?i can\b)"
    ),
    services=(
        r"(?:help(?! but\b| (?:feel|think|notic|wonder|laugh|smil|lov|ador|fall|admir|cry|be)\w*\b"
        r"| it\b| myself\b)"
        r"|assist|support|provid|offer|giv(?:e|ing)(?! up\b| in\b| enough| a damn)|shar(?:e|ing)\b"
        r"|supply|comply|complying|fulfil|answer|respond|reply|engag|participat|discuss|deliberat"
        r"|creat|generat|produc|writ(?:e|ing)|do (?:that|this|so\b|what|it\b|anything|such|as)|draft"
        r"|continu|proceed|complet|carry|perform|process\b|address|accommodat|facilitat|contribut"
        r"|condon|endors|promot|entertain|evaluat|judg(?:e|ing)(?! you)|grad(?:e|ing)|analy[sz]|assess"
        r"|review|rat(?:e|ing)\b|work (?:on|with)|tak(?:e|ing) part|be (?:part|involved|of (?:help|any"
        r"|assistance|service)|able)|aid\b|aiding|tell (?:you|anyone)|teach|guid(?:e|ing)"
        r"|explain(?! why i|ing why)|describ|show you|walk you|go along|cooperat|handl|advis|decompos"
        r"|consider|honou?r|satisf|execut|act on|speak (?:to|about|on)|talk (?:about|you)|get involved"
        r"|break (?:this|it|that) down|list|instruct|comfortable|answering|act as|play along|touch"
        r"|say more|go (?:into|there|further|any)|indulge|accept|grant|serve|allow|outline|touch"
        r"|recommend (?:ways|how|any)|suggest|disclose|reveal|oblige|lend|meet (?:this|that|your)"
        r"|enabl|become|score|scoring|do so|can$|will$|follow (?:this|that|these|your|through)|translat|summari[sz])"
    ),
    alone=(
        r"(?:\bi ?(?:'m |am |'ll |will |'d |would |do |hereby |must |have to |need to |am going to "
        r"|'m going to |am forced to |have chosen to |choose to |like to |have |'ve "
        r"|therefore |very |\w+ly |, )*"
        r"(?:declin(?:e|ing)\b|refus(?:e|ing)\b(?! to (?:believe|accept that|think))|have to pass|must pass|abstain|opt out|pass on (?:this|that))"
        r"|\bi (?:cannot|can't|could not|couldn't) in good (?:conscience|faith)"
        r"|(?:is|are|goes|go|runs|run|would be|'s|works|it) (?:directly |strictly )?(?:against|contrary to"
        r"|outside(?: of)?|beyond|in (?:violation|breach) of|not (?:in line|aligned|consistent) with) "
        r"(?:my|our) ␣(?:guidelines?|programming|principles?|values|ethics|polic(?:y|ies)"
        r"|rules|purpose|instructions|terms|standards|scope|boundaries|limits|capabilities|safety)"
        r"|(?:violat|breach|contraven|conflicts? with|infring)\w* (?:my|our|openai'?s?|the|its|all)? ?"
        r"(?:(?:safety|content|usage|ethical|community|use|own|core|operating|acceptable|service"
        r"|moderation|platform|provider'?s?) )*"
        r"(?:guidelines?|programming|principles|terms of (?:service|use)|values|standards"
        r"|(?<=safety )polic(?:y|ies)|(?<=content )polic(?:y|ies)|(?<=usage )polic(?:y|ies)"
        r"|(?<=use )polic(?:y|ies)|(?<=my )polic(?:y|ies)|(?<=our )polic(?:y|ies)(?! on| about))"
        r"|\bmy (?:\w+ )?(?:guidelines|programming|polic(?:y|ies)|principles|values|ethics|training"
        r"|instructions|design|rules) ␣(?:don't|do not|doesn't|does not|prevent|prohibit|forbid|keep"
        r"|stop|won't|preclude|bar)"
        r"|\b(?:request|prompt|question|task|query|message) ␣(?:denied|declined|refused|rejected"
        r"|(?:can't|cannot) be (?:fulfil|complet|answer|process|help|assist|honou?r|met|handl|done)\w*)"
        r"|^(?:absolutely not|no way|no can do|no chance|not happening|i (?:can't|cannot|won't|will not)"
        r"|i refuse|denied|refused|declined|(?:that|this|it)'?s? (?:is )?a (?:hard |firm )?no(?: from me)?"
        r"|(?:my|the) answer (?:is|has to be|must be) no|no)$"
        r"|\bi (?:do not|don't) (?:provide|assist|engage|participat|facilitat|produc|generat|creat|discuss"
        r"|offer|write|comply|condon|help with|answer such|respond to such)"
        r"|\boff[ -]limits (?:for|to) me\b|\b(?:outside|beyond|out of) (?:of )?(?:what i|the (?:scope|bounds) of what i"
        r"|my (?:scope|abilit|capabilit|remit|reach|boundaries|competence))"
        r"|\b(?:sorry|afraid|regret) (?:that )?not to be able\b|\bi am powerless\b"
        r"|\bi (?:must|have to|need to|will have to|'ll have to) turn (?:this|that|it|you) down\b|\bcount me out\b|\bi want no part\b|\bi have to (?:say no|draw the line)\b|\bi must say no\b"
        r"|\bi (?:can't|cannot|won't) (?:\w+ )?be (?:of )?(?:help|assist)\w*"
        r"|\b(?:not|n't) something i(?:'m| am| can| could| will| would|'d|'ll) (?:able|willing|do|help|go"
        r"|assist|support|comfortable|prepared|going))"
    ),
)

_GERMAN = RefusalWords(
    unable=(
        r"(?:(?:\bich (?:kann|könnte|werde|darf|möchte|will|mag|soll)|\b(?:kann|werde|darf|möchte|will)"
        r" ich)\b(?! mir) ␣(?:nicht|kein\w*|nichts|niemals|nie)\b(?! umhin| anders| mehr warten)"
        r"|\bich bin ␣(?:nicht|außer)\b ␣(?:lage|stande|befugt|berechtigt|bereit|imstande|programmiert"
        r"|dafür|autorisiert)|\bich sehe mich ␣(?:außerstande|nicht)"
        r"|\bmir (?:ist es |leider )?nicht (?:möglich|erlaubt|gestattet)|\bist (?:es )?mir ␣nicht (?:möglich"
        r"|erlaubt|gestattet)|\b(?:mir|ich) ␣(?:untersagt|verboten|unmöglich))"
    ),
    services=(
        r"(?:\w*helfen|\w*hilf\w*|\bhilfe|unterstütz|\w*antwort|geben|bereitstell|liefer|assist"
        r"|behilflich|erfüll|nachkomm|nachzukommen|folgen|folge leisten|mitwirk|mitzu|mitmach|beteilig"
        r"|teilnehm|teilzunehmen|diskut|besprech|\w*eingehen|einzugehen|bearbeit|erstell|schreib|verfass"
        r"|generier|erklär|anleit|beschreib|auskunft|auskünfte|beitrag|bewert|beurteil|analysier|\btun\b"
        r"|machen|dienen|\w*dienlich|fortfahr|äußer|kommentier|verrat|zeigen|nennen|preisgeb|entsprech"
        r"|leisten|anbieten|weitergeb|information|beistehen|ausführen|durchführ|zur verfügung|beraten"
        r"|mitarbeit|begleiten|befassen|zerlegen|umsetzen|übernehm|übernehmen|erzeug|nichts sagen|sagen$)"
    ),
    alone=(
        r"(?:\bich (?:lehne\b.{0,80}\bab\b|verweigere|weigere mich|muss ␣(?:ablehnen|verweigern|passen"
        r"|zurückweisen|absagen)|werde ␣(?:ablehnen|verweigern)|möchte ␣ablehnen)"
        r"|\b(?:muss|möchte|werde) ich ␣(?:ablehnen|verweigern|passen|zurückweisen)|\blehne ich ␣ab\b"
        r"|(?:verstößt|verstoßen|widerspricht) (?:gegen )?(?:meine\w*|unsere\w*|die|den|geltende) ␣"
        r"(?:richtlinie|nutzungs|grundsätz|inhalts|prinzipien|vorgaben|werte|programmierung)\w*"
        r"|\b(?:ich (?:helfe|erstelle|unterstütze|beantworte|schreibe|gebe|liefere|leiste|diskutiere|bespreche|bewerte|erteile|verfasse|bediene|behandle|äußere|übernehme|beteilige)|(?:helfe|erstelle|unterstütze|beantworte|schreibe|gebe|liefere|leiste|diskutiere|bespreche|bewerte|erteile|verfasse|bediene|behandle|äußere|übernehme|beteilige) ich)\b ␣(?:nicht|kein\w*)\b(?! selbst| mir)"
        r"|\bich ␣(?:nicht|kein\w*) ␣(?:\w*helf|\w*antwort|unterstütz|bearbeit|erstell|erfüll|bereitstell"
        r"|diskut|besprech|bewert|beurteil|geben|liefer|schreib|teilnehm|nachkomm|eingeh)\w* (?:kann|darf"
        r"|werde|möchte|will)\b|\bnicht ␣\w*(?:helfen|antworten|dienen) zu können"
        r"|\b(?:möchte|würde|werde) (?:ich )?lieber nicht\b"
        r"|\baußerhalb (?:meiner|dessen, was ich)"
        r"|\bmir (?:leider )?(?:untersagt|verboten|nicht (?:erlaubt|gestattet))\b|\b(?:darf|kann|möchte|will|werde) ich? ?(?:dazu|darüber|hierzu) nichts\b"
        r"|\bich (?:darf|kann|möchte|will|werde) (?:dazu|darüber|hierzu) nichts\b"
        r"|^(?:das )?geht leider nicht$|\bmeine (?:richtlinien|programmierung) ␣(?:nicht|verbiet|untersag))"
    ),
)

_FRENCH = RefusalWords(
    unable=(
        r"(?:\bje (?:ne |n')(?:peux|pourrai|pourrais|puis|suis|vais|veux|souhaite|saurais|dois|serai|ai"
        r"|me sens|compte|pense)\b(?! pas m'empêcher)(?: (?:pas|plus|point|malheureusement|hélas"
        r"|en aucun cas|vous|te|t'|donc|aucun\w*|jamais))*|\bil (?:ne )?m'est (?:pas )?(?:impossible"
        r"|interdit|possible|permis|malheureusement impossible)|\bimpossible (?:pour moi )?de"
        r"|\bje me vois dans l'impossibilité)"
    ),
    services=(
        r"(?:aid\w*|assist|fourni|répond|donn|partag|accompagn|satisfai|accéder|participer|discut"
        r"|rédig|écri\w*|génér|produi|créer|expliqu|trait|fai(?:re|t) (?:cela|ça|ce)|le faire|continu"
        r"|poursuiv|propos|communiqu|évalu|juger|analys|comment\w*|aborder|contribu|engag|coopér|honor"
        r"|exécut|soutenir|décri|prêter|conseill|révél|apporter|offrir|collabor|encourag|indiquer|faire$"
        r"|détaill|décompos)"
    ),
    alone=(
        r"(?:\bje (?:ne |n')(?:vous |te |t'|y |lui |le |la )*(?:aid|assist|fourni|répond|particip|discut|rédig"
        r"|écri|génér|produi|crée|explique|traite|fe|continue|poursuiv|donne|partage|aborde|collabore"
        r"|contribue|cautionne|soutien)\w*(?:rai|rais)\b"
        r"|\bm'est (?:interdit|impossible|défendu)\b|\bc'est non$"
        r"|\bje préf[èé]r\w+ (?:ne pas|m'abstenir)|\bincapacité de|\bje ne (?:peux|veux|dois) (?:rien dire|pas"
        r" en (?:parler|discuter|dire))|\b(?:regrette|désolée?|navrée?|crains) .{0,20}ne pas pouvoir"
        r"|\bje ne (?:participe|fournis|réponds|donne|traite|cautionne|soutiens)\b(?! plus)|\b(?:hors|au-delà) de (?:mes|mon"
        r"|ce que je)|\bje (?:vais |dois |préfère |souhaite |me vois |suis |tiens à )?␣(?:décliner|refuser)\b"
        r"|\bje (?:me )?(?:refuse|décline)\b|\bje m'abstien|\bje (?:dois|vais) ␣m'abstenir"
        r"|(?:enfrein\w*|viole\w*|va à l'encontre|contrevien\w*|(?:est )?contraire) (?:de |à |aux? |avec )?"
        r"(?:mes|nos|les) ␣(?:directives|règles|principes|consignes|politiques|conditions|valeurs|lignes)"
        r"|\bmes (?:directives|principes|règles|consignes) ␣(?:interdi|empêch|permett))"
    ),
)

_SPANISH = RefusalWords(
    unable=(
        r"(?:\bno (?:te |le |les |os |lo |la |me |se )*(?:puedo|podré|podría|voy a|debo|estoy|soy capaz|es"
        r" posible|está permitido|siento|quiero|deseo|tengo permi\w*|pienso|dispongo)\b(?! evitar)"
        r"|\bme (?:es|resulta) imposible|\btengo prohibido|\bincapaz de)"
    ),
    services=(
        r"(?:ayud|asist|proporcion|ofrec|brind|\bdar\w*|facilit|compart|respond|contest|cumpl|particip"
        r"|discut|debat|hablar|convers|escrib|redact|gener(?:ar|es)|\bcrear|produc|explic|describ|atend"
        r"|hacer (?:eso|esto|lo|algo)|hacerlo|colabor|continu|proced|complac|apoy|evalu|juzg|analiz"
        r"|calific|coment|tratar|involucr|complet|tramit|suminist|enseñ|decir|acced|satisf|cooper"
        r"|entr(?:ar|eg)|realiz|ejecut|orient|abord|servir|prestar|aceptar|desglos|revel|hacer$)"
    ),
    alone=(
        r"(?:\bno (?:te |le |les |lo |la )*(?:ayudar|particip|colabor|proporcion|respond|contest|escrib|generar"
        r"|discut|ofrec|dar|facilit|compart|cumpl|complac|apoyar|explicar|continuar|hablar)\w*[aei]?ré\b"
        r"|\bno (?:ayudo|participo|colaboro|proporciono|respondo|genero|ofrezco|apoyo|facilito)\b"
        r"|\bpref(?:iero|eriría) no\b|\b(?:lamento|siento|temo) .{0,20}no poder|\bno tengo (?:autoriz|permi|la capac"
        r"|la facul)\w+|\bno me (?:está|es|fue|ha sido) (?:permitid|posible)|\bfuera de (?:mis|lo que puedo|mi alcance)"
        r"|\b(?:debo|tengo que|he de|voy a|prefiero|me veo (?:en la obligación de |obligad\w a )"
        r"|me corresponde|necesito) ?␣(?:declin|rechaz|neg\w*me|rehus)\w*|\bme niego\b|\brehúso\b"
        r"|^(?:yo )?(?:rechazo|declino)\b|(?:infring|viola|incumpl|contravien|va (?:en )?contra)\w* ␣(?:mis"
        r"|nuestr\w*|las|los) ␣(?:directrices|políticas|normas|principios|pautas|valores|lineamientos)"
        r"|\bmis (?:directrices|políticas|normas|principios) ␣(?:impid|proh|no ))"
    ),
)

_PORTUGUESE = RefusalWords(
    unable=(
        r"(?:\bnão (?:te |lhe |o |a |me )*(?:posso|poderei|poderia|vou|irei|consigo|conseguirei|devo|estou"
        r"|sou capaz|é possível|será possível|sinto|tenho (?:permissão|como|autorização)|quero|pretendo"
        r"|dá para eu)\b(?! deixar de| evitar)|\bé(?:-me)? impossível|\bincapaz de)"
    ),
    services=(
        r"(?:ajud|auxili|fornec|oferec|\bdar\b|dar-|respond|cumpr|atend|particip|discut|falar|escrev"
        r"|redig|gerar|\bcriar|produz|explic|descrev|fazer (?:isso|isto|o)|fazê-lo|colabor|continu"
        r"|prosse|prest|compartilh|partilh|apoi|avali|julg|analis|coment|tratar|envolv|realiz|complet"
        r"|ensin|dizer|contribu|satisf|process|assist|aceit|entr(?:ar|eg)|execut|orient|conceder|decompor"
        r"|abord|revel|fazer\b)"
    ),
    alone=(
        r"(?:\bnão (?:te |lhe |o |a )*(?:ajudar|participar|colaborar|fornecer|responder|escrever|gerar|discutir"
        r"|oferecer|dar|compartilhar|cumprir|atender|apoiar|explicar|continuar|falar|criar)ei\b"
        r"|\bnão (?:ajudo|participo|colaboro|forneço|respondo|gero|ofereço|apoio|compactuo)\b"
        r"|\bpref(?:iro|eriria|eria) não\b|\b(?:lamento|sinto|temo) .{0,20}não poder|\bnão tenho (?:autoriz|permis"
        r"|capac)\w+|\bnão me (?:é|está|foi) (?:permitid|possível)|\bfora d(?:o meu alcance|as minhas|o que posso)"
        r"|\b(?:devo|tenho (?:de|que)|preciso|vou|sou (?:forçad|obrigad)\w a|prefiro) ?␣(?:recus|declin"
        r"|rejeit|negar)\w*|\b(?:me recuso|recuso-me|recuso|declino)\b|(?:viola|fere|infring|contrari|va[i]"
        r" contra|desrespeit)\w* ␣(?:minhas|meus|nossas|nossos|as|os) ␣(?:diretrizes|políticas|normas"
        r"|princípios|valores|regras|orientações)|\bminhas (?:diretrizes|políticas|normas) ␣(?:não|imped"
        r"|proíb))"
    ),
)

_ITALIAN = RefusalWords(
    unable=(
        r"(?:\bnon (?:ti |vi |le |la |lo |mi )*(?:posso|potrò|potrei|sono|è (?:possibile|permesso|consentito)"
        r"|intendo|voglio|me la sento|riesco|ho (?:il permesso|la possibilità|modo)|sarò|desidero)\b"
        r"(?! fare a meno)|\bmi è (?:impossibile|vietato)|\bimpossibile (?:per me|fornir))"
    ),
    services=(
        r"(?:aiut|assist|forni|offr|\bdar\w*|rispond|rispost|soddisf|esaud|partecip|discut|parlar|scriv"
        r"|redig|gener|\bcrear|produ|spieg|descriv|farlo|fare (?:questo|ciò|quello)|collabor|continu"
        r"|proced|condivid|support|valut|giudic|analizz|comment|tratt|adempi|esegu|accett|accogl|accontent"
        r"|prestar|indicar|insegn|dirti|eseguir|svolger|complet|dare|rivel|scompor|occupar|prosegu|fare$)"
    ),
    alone=(
        r"(?:\bnon (?:ti |vi |le |la |lo )*(?:aiut|assist|forn|rispond|partecip|collabor|discut|scriv|gener|spiegh|dar"
        r"|continu|eseg|soddisf|support|produ|tratt|creer|far)\w*ò\b|\bnon (?:partecipo|collaboro|fornisco"
        r"|rispondo|genero|offro)\b|\bprefer(?:isco|irei) non\b|\b(?:temo|dispiace|spiace|spiacente|rammarico)"
        r" .{0,20}non poter|\bfuori dal(?:la mia|le mie| mio)|\b(?:devo|sono costrett\w a|mi vedo costrett\w a|preferisco|intendo) ?␣(?:rifiut|declin"
        r"|respinger)\w*|\bmi rifiuto\b|^(?:io )?(?:rifiuto|declino)\b|(?:viola|infrang|contravvien|va contro|è"
        r" contrari)\w* ␣(?:mie|miei|nostre|nostri|le|i|alle|ai) ␣(?:linee|politiche|norme|princìpi"
        r"|principi|regole|valori|direttive)|\ble mie (?:linee guida|politiche) ␣(?:non|imped|viet))"
    ),
)

_DUTCH = RefusalWords(
    unable=(
        r"(?:(?:\bik (?:kan|mag|zal|wil|ga|kunnen)|\b(?:kan|mag|zal|wil|ga) ik)\b ␣(?:niet|geen|nooit|niets)"
        r"\b(?! anders)|\bik ben ␣niet (?:in staat|bevoegd|bereid|gemachtigd|van plan)"
        r"|\bhet is (?:mij|me|voor mij)? ?␣(?:niet (?:mogelijk|toegestaan)|onmogelijk|verboten))"
    ),
    services=(
        r"(?:\w*help|assist|ondersteun|bijstaan|\w*antwoord|geven|verstrek|bieden|lever|voldoen|meewerk"
        r"|mee te werken|deelnem|deel te|bespre|praten|schrijv|maken|gener|\w*uitleg|uit te leggen"
        r"|beschrijv|\bdoen\b|meedoen|verder|voortzet|\bdelen|beoordel|analys|ingaan|in te gaan|behulp"
        r"|uitvoer|uit te voeren|informatie|meehelp|van dienst|bijdrag|zeggen)"
    ),
    alone=(
        r"(?:\b(?:ik (?:werk|help|geef|doe|beantwoord|schrijf|maak|verstrek|bespreek|lever)|(?:werk|help|geef|doe|beantwoord|schrijf|maak|verstrek|bespreek|lever) ik)\b ␣(?:niet|geen)\b|\bik (?:\S+ ){1,6}niet (?:kan|mag|wil|zal) (?:\w*help|\w*antwoord"
        r"|geven|bieden|uitvoeren|bespreken)\w*|\bik ␣liever niet\b|\bbuiten (?:mijn|wat ik)"
        r"|\bga ik (?:hier |daar )?niet ␣in\b|\bik (?:weiger|moet ␣(?:weigeren|afwijzen|bedanken)|wijs\b.{0,60}\baf\b)|\bmoet ik ␣(?:weigeren"
        r"|afwijzen|bedanken)|\bweiger ik\b|(?:schendt|strijdig met|in strijd met|gaat in tegen|druist in tegen)"
        r" (?:mijn|onze|de) ␣(?:richtlijn|beleid|principe|regels|waarden|voorwaarden)\w*)"
    ),
)

_SWEDISH = RefusalWords(
    unable=(
        r"(?:(?:\bjag (?:kan|får|kommer|vill|tänker|kommer att)|\b(?:kan|får|vill|tänker) jag)\b ␣(?:inte|ej|aldrig"
        r"|ingen|inga)\b|\bjag är ␣(?:inte|ej) (?:i stånd|kapabel|bemyndigad|villig)|\bjag har inte möjlighet)"
    ),
    services=(
        r"(?:hjälp|assist|bistå|svar|\bge\b|tillhandahåll|bidra|delta|diskut|skriv|skapa|göra|medverk"
        r"|uppfyll|förklar|bedöm|stöd|erbjud|fortsätt|lämna|tillmötesgå|beskriv|utföra|information)"
    ),
    alone=r"(?:\bjag (?:vägrar|avböjer|avstår|måste ␣(?:avböja|neka|tacka nej|avstå|vägra))|\bmåste jag ␣(?:avböja|neka|tacka nej)|(?:bryter|strider) mot (?:mina|våra) ␣(?:riktlinjer|principer))",
)

_DANISH_AND_NORWEGIAN = RefusalWords(
    unable=(
        r"(?:(?:\bjeg (?:kan|vil|må|får|kommer|har)|\b(?:kan|vil|må) jeg)\b ␣(?:ikke|ingen|aldri|aldrig)\b"
        r"|\bjeg er ␣ikke i stand)"
    ),
    services=(
        r"(?:hjælp|hjelp|assist|bistå|\w*svar|\bgive\b|\bgi\b|yde\b|lever|bidra|delta|diskut|skriv|\blave\b"
        r"|\blage\b|opfyld|oppfyll|forklar|medvirk|støtt|tilby|gøre|gjøre|fortsæt|fortsett|beskriv|bedøm"
        r"|vurder|utfør|udfør|imødekom|etterkom)"
    ),
    alone=r"(?:\bjeg (?:nægter|nekter|afviser|avviser|avslår|afslår|må ␣(?:afvise|avslå|afslå|avvise|nekte|takke nei|sige nej|si nei))|\bmå jeg ␣(?:afvise|avslå|afslå|avvise|nekte|takke nei|sige nej|si nei)|(?:strider mod|strider mot|bryder|bryter) (?:mine|vores|våre) ␣(?:retningslinj|princip|prinsipp)\w*)",
)

_FINNISH = RefusalWords(
    unable=r"(?:\ben (?:valitettavasti )?(?:voi|pysty|saa|aio|kykene|halua|suostu|ole)\b|\bminun ei ole)",
    services=(
        r"(?:autta|avusta|apua|vasta|anta|tarjo|toteut|osallist|keskustel|kirjoit|luoda|tehdä|selit"
        r"|täyttä|jatka|arvio|neuvo|kerto|käsit|tuotta|suorit)"
    ),
    alone=r"(?:\ben (?:auta|vastaa|anna|tarjoa|kirjoita|osallistu|tee sitä|keskustele)\b|\bkieltäydyn\b|\bminun (?:on|täytyy|pitää) ␣(?:kieltäyty|torju)\w*|\bpyyntö (?:rikkoo|on vastoin))",
)

_POLISH = RefusalWords(
    unable=(
        r"(?:\bnie (?:mogę|będę|jestem (?:w stanie|upoważnion\w*|gotow\w*)|wolno mi|chcę|zamierzam|potrafię"
        r"|mam (?:możliwości|prawa|zamiaru)|mogłbym|podejmę)\b(?! się powstrzymać| się doczekać)"
        r"|\bnie jest (?:dla mnie )?możliwe)"
    ),
    services=(
        r"(?:pomóc|pomog|pomag|pomoc|udziel|odpow|dostarcz|zapewni|poda[ćjw]|spełni|wykona|napisa|pisa"
        r"|stworzy|tworzy|wygener|gener|wyjaśni|opisa|uczestn|dysk|omawia|omówi|rozmaw|zrobi|robić"
        r"|wspier|wesprze|zrealiz|realiz|kontyn|ocen|anali|przeanali|asyst|angaż|brać udzia|wziąć"
        r"|przedstaw|zająć|zajmow|obsłuż|przygot|instru|doradz|rozłoży|tego)"
    ),
    alone=(
        r"(?:\bnie (?:pomogę|odpowiem|udzielę|napiszę|zrobię|wezmę|podam|spełnię|wykonam|dostarczę|stworzę"
        r"|pomagam|odpowiadam|udzielam|uczestniczę|wygeneruję)\b|\bwol(?:ę|ałbym|ałabym) nie\b"
        r"|\bpoza (?:moim|moimi)|\bmuszę ␣(?:odmówi|odrzuci)\w*|\b(?:odmawiam|odrzucam)\b|\bjestem zmuszon\w* ␣odmówi\w*"
        r"|(?:narusza|łamie|sprzeczn\w* z|niezgodn\w* z) (?:moj\w*|nasz\w*|zasad\w*)? ?␣(?:wytyczn|zasad|polityk"
        r"|regulamin)\w*)"
    ),
)

_CZECH_AND_SLOVAK = RefusalWords(
    unable=(
        r"(?:\b(?:nemohu|nemůžu|nebudu|nesmím|nechci|nemôžem|nebudem|nesmiem|nedokážu|neviem)\b"
        r"|\b(?:nejsem|nie som) (?:schop|oprávn|ochot)\w*|\b(?:není|nie je) (?:pro mě |pre mňa )?možné)"
    ),
    services=(
        r"(?:pom[oáô]\w*|poskyt|odpov|spln|vyhov|napsat|napísa|vytvo|vysv|popsat|opísa|účastn|účast|zúčast"
        r"|diskut|udělat|urob|asist|podpo|pokrač|hodnot|sdíl|zdie|zprac|posoud|poradi|to$)"
    ),
    alone=r"(?:\bne(?:pomohu|pomůžu|pomôžem|odpovím|odpoviem|poskytnu|poskytnem|napíšu|napíšem|udělám|urobím|splním)\b|\bmusím ␣(?:odmítn|zamítn|odmietn)\w*|\b(?:odmítám|odmietam)\b|(?:porušuje|v rozporu s) ␣(?:mé|moje|naše|pravidl|zásad|mými|mojimi)\w*)",
)

_CROATIAN_AND_SERBIAN = RefusalWords(
    unable=r"(?:\b(?:ne mogu|neću|ne smijem|ne smem|ne želim|nisam (?:u mogućnosti|u stanju|ovlašten\w*|voljan\w*)|не могу|нећу|нисам у могућности)\b)",
    services=r"(?:pomo[cćg]|pruž|odgovor|ispun|napis|stvori|objasn|opis|sudjel|učestv|uradi|učini|asist|podrž|nastav|raspravlj|procijen|oceni|да помогн|помо|одговор|пруж)",
    alone=r"(?:\bmoram ␣odbit\w*|\bodbijam\b|\bморам ␣одбит\w*)",
)

_RUSSIAN = RefusalWords(
    unable=(
        r"(?:\bне (?:могу|смогу|буду|стану|имею|готов\w*|вправе|намерен\w*|способ\w*|уполномоч\w*|хочу"
        r"|в состоянии|в силах|собираюсь|вижу возможности)\b(?! не\b| дождаться| нарадоваться)"
        r"|\bмне (?:не (?:разрешено|позволено|положено|следует)|нельзя|запрещено)|\bневозможно для меня)"
    ),
    services=(
        r"(?:помо[гчщ]\w*|посодейств|содейств|ответ|отвеч|предостав|\bдать|\bдавать|оказ|выполн|участ"
        r"|обсужд|обсуд|напис|писать|созда|генер|сгенер|объясн|описа|сделать|делать|консульт|продолж"
        r"|поддерж|удовлетв|коммент|оцен|анализ|проанализ|рассказ|подсказ|сотрудн|рассм|обработ|предлож"
        r"|взаимодейств|поделит|делит|составл|состав|исполн|пойти|разъясн|советов|посоветов|разбир|этого)"
    ),
    alone=(
        r"(?:\bне (?:помогу|отвечу|предоставлю|напишу|дам|расскажу|выполню|окажу|оказываю|предоставляю|отвечаю"
        r"|помогаю|обсуждаю|пишу|создаю|участвую|поддерживаю|создам|буду этого)\b"
        r"|\b(?:помочь|помогать|ответить|отвечать|обсуждать|предоставить|выполнить|сделать|участвовать|содействовать"
        r"|написать|продолжать|оценить|рассказать) (?:\S+ ){0,4}?не (?:могу|смогу|буду|стану|имею|вправе|готов\w*)\b"
        r"|\bпредпо(?:чту|читаю|чел\w*) (?:бы )?не\b|\bвне мо(?:ей|их)|\bвыходит за (?:рамки|пределы) мо"
        r"|\bвынужден\w* ␣(?:отказ|отклон)\w*|\bотказываюсь\b|\b(?:должен|должна|придётся|придется|обязан\w*)"
        r" ␣(?:отказат|отклонит)\w*|\bя отклоняю\b|(?:нарушает|противоречит) (?:мо\w*|наш\w*|правил\w*|этическ\w*)"
        r" ?␣(?:правил|принцип|политик|руководств|норм|условия|ценност)\w*)"
    ),
)

_UKRAINIAN = RefusalWords(
    unable=(
        r"(?:\bне (?:можу|зможу|буду|стану|маю (?:права|змоги|можливості)|готов\w*|в змозі|здат\w*|вправі"
        r"|хочу|збираюся)\b(?! не\b)|\bмені (?:не дозволено|заборонено))"
    ),
    services=(
        r"(?:допом|відпов|\w*нада\w*|викон|обгов|напис|писати|створ|поясн|зроби|роби|сприя|участ|підтрим"
        r"|оцін|продовж|опис|розпов|задовол|проаналіз|коментув|співпрац)"
    ),
    alone=r"(?:\bне (?:допоможу|відповім|надам|напишу|дам|розповім|виконаю|обговорюю|надаю|допомагаю)\b|\b(?:допомогти|відповісти|обговорювати|надати|виконати|зробити) (?:\S+ ){0,4}?не (?:можу|зможу|буду|маю)\b|\b(?:змушен\w*|мушу|маю|повин\w*) ␣(?:відмов|відхил)\w*|\bвідмовляюс[яь]\b|(?:порушує|суперечить) (?:мо\w*|наш\w*|правил\w*))",
)

_BULGARIAN = RefusalWords(
    unable=r"(?:\bне (?:мога|мога да|желая|съм в състояние|ми е позволено)\b|\bняма да\b)",
    services=r"(?:помог|помощ|предостав|отговор|изпълн|участв|обсъжд|напиш|създа|обясн|направ|съдейств|продълж|оцен)",
    alone=r"(?:\bтрябва да ␣откажа\b|\bотказвам\b)",
)

_ROMANIAN = RefusalWords(
    unable=(
        r"(?:\bnu (?:vă |te |îți |îmi |o |le |mă )*(?:pot|voi|sunt|am (?:voie|permisiunea|cum)|este (?:permis"
        r"|posibil)|vreau|doresc|simt)\b)"
    ),
    services=(
        r"(?:ajut|asist|ofer|furniz|răspun|raspun|\bda\b|îndeplin|particip|discut|scri|crea|gener|explic"
        r"|face|contin|colabor|sprijin|evalu|analiz|satisf|descri)"
    ),
    alone=r"(?:\b(?:trebuie|sunt nevoit\w*|sunt obligat\w*) (?:să )?␣(?:refuz|declin|resping)\w*|\b(?:eu )?refuz să\b|\bmă abțin\b|(?:încalcă|contravine) ␣(?:regul|politic|principi|ghid)\w*)",
)

_HUNGARIAN = RefusalWords(
    unable=(
        r"(?:\bnem (?:tudok|áll módomban|fogok|vagyok (?:képes|hajlandó|jogosult)|akarok|szeretnék|lehetek"
        r"|\w+hat(?:ok|om)|\w+het(?:ek|em)|tudom|fogom|vehetek|kívánok)\b)"
    ),
    services=(
        r"(?:segí\w*|segéd\w*|válasz|adni|adhat|teljesít|nyújt|írni|írhat|készít|részt|megvitat|magyaráz"
        r"|megtenni|tenni|támogat|folytat|közreműköd|eleget|értékel|szolgál)"
    ),
    alone=r"(?:\b(?:el|vissza) kell (?:utasít|hárít)\w*|\b(?:elutasítom|visszautasítom|megtagadom)\b|\bnem \w+(?:hatok|hatom|hetek|hetem)\b|\bnem (?:segíthetek|segítek|válaszolok|adok|veszek|írok|teszem|válaszolhatok|teljesíthet\w+|adhatok)\b|(?:sérti|ellentétes) ␣(?:irányelv|szabály|elve)\w*)",
)

_GREEK = RefusalWords(
    unable=r"(?:\bδεν (?:μπορώ|θα|δύναμαι|είμαι|μου επιτρέπεται|επιτρέπεται|έχω|προτίθεμαι|επιθυμώ)\b|\bαδυνατώ\b)",
    services=(
        r"(?:βοηθ|απαντ|παρ[έάα]|δώσω|συμμετ|συζητ|γράψ|δημιουργ|εξηγ|κάνω|εκπληρ|ικανοποι|συνεχ|υποστηρ"
        r"|εξυπηρετ|αξιολογ|ανταποκρ|συνεργ|συνδρ|σχολι|εκτελ)"
    ),
    alone=r"(?:\bαρνούμαι\b|\b(?:πρέπει|οφείλω|είμαι υποχρεωμέν\w*) να ␣(?:αρνηθώ|απορρίψω)|\bαπορρίπτω\b|(?:παραβιάζει|αντίκειται) ␣(?:πολιτικ|κατευθυντ|αρχ|κανόν)\w*)",
)

_TURKISH = RefusalWords(
    unable=(
        r"(?:\b(?:yardım|destek|cevap|yanıt|bilgi|talimat|katkı|hizmet|içerik|iste[kğ]|tale[pb]|soru|bunu"
        r"|buna|konuda|konu|görev)\w*\b)"
    ),
    services=(
        r"(?:\w*(?:[ae]mem|[ae]mam|[ae]m[iıuü]yorum|[ae]meyece[gğ]im|[ae]mayaca[gğ][iı]m|[ae]meyiz|[ae]mayız"
        r"|mayaca[gğ][iı]m|meyece[gğ]im)\b|mümkün değil|izin(?:im|li) (?:yok|değil)"
        r"|yetkim yok|yasak)"
    ),
    alone=(
        r"(?:\b(?:cevapla|yanıtla|sağla|yap|yaz|oluştur|açıkla|katıl|tartış|karşıla|paylaş|anlat|sun)ma(?:yacağım|m)\b"
        r"|\b(?:ver|getir|değerlendir|söyle|üret|göster|destekle|et|bilgilendir|yönlendir)me(?:yeceğim|m)\b"
        r"|\b(?:tercih etm|istem)iyorum\b|\byardım\w* ␣(?:mümkün değil|söz konusu değil)"
        r"|\b(?:cevaplay|yanıtlay|sağlay|yap|yaz|oluştur|açıklay|katıl|tartış|karşılay|paylaş|anlat|sun)am"
        r"(?:am|ıyorum|ayacağım|ayız)\b|\b(?:ver|getir|değerlendir|söyle(?:y)?|üret|göster|destekle(?:y)?)em"
        r"(?:em|iyorum|eyeceğim|eyiz)\b|\breddet(?:mek|meliyim|mem gerek)\w*|\breddediyorum\b|\bgeri çevir\w*"
        r"|(?:ilkelerim|kurallarım|politikalarım|yönergelerim|yönergeler|ilkeler)\w* ␣(?:aykırı|ihlal|izin))"
    ),
)

_ARABIC = RefusalWords(
    unable=(
        r"(?:\b(?:و)?(?:لا|لن|لست|ليس|غير|لم) ?(?:استطيع|يمكنني|اتمكن|اقدر|يسعني|يمكن لي|املك|يجوز لي|يحق لي"
        r"|يسمح لي|اكون|ارغب|انوي|استطع|اود|في وسعي|بامكاني|بوسعي|بمقدوري|باستطاعتي|في وضع|قادر\w*|مخول\w*"
        r"|مستعد\w*|مسموح لي|من الممكن لي|اقوم|اساعد\w*|اقدم|اجيب|اشارك|اكتب)|\b(?:يتعذر|يستحيل|يصعب) علي\w*|\bلا مجال)"
    ),
    services=(
        r"(?:مساعد|اساعد|تقديم|اقدم|توفير|اوفر|اجاب|اجيب|الرد\b|ارد\b|تلبيه|تلبية|البي|تنفيذ|انفذ|مشارك|اشارك"
        r"|مناقش|اناقش|كتاب|اكتب|انشاء|شرح|اشرح|القيام|اقوم|فعل|افعل|امتثال|استجاب|تزويد|ازود|اعطا|اعطي"
        r"|مساهم|دعم|مواصل|متابع|تقييم|تحليل|معالج|التعامل|الخوض|تعاون|اكمال|تحقيق|ذلك$|هذا$)"
    ),
    alone=(
        r"(?:\b(?:ارفض|امتنع عن|ساضطر ␣رفض|مضطر\w* ␣(?:رفض|للرفض|الاعتذار|للاعتذار)|يجب(?: علي)? ان ارفض"
        r"|يتوجب علي ␣(?:رفض|ارفض)|(?:اعتذر|عذرا) عن (?:عدم|تقديم|الاجاب|مساعد|تلبي)\w*|لا بد لي من ␣رفض)"
        r"|(?:ينتهك|يخالف|يتعارض مع) ␣(?:سياس|ارشاد|مبادئ|قواعد|معايير|شروط)\w*)"
    ),
    gap=CHARACTERS,
)

_PERSIAN = RefusalWords(
    unable=r"(?:کمک|پاسخ|ارائه|انجام|همکاری|راهنمایی|مشارکت|شرکت|بحث|نوشتن|بنویس|تولید|ایجاد|توضیح|اطلاعات|براورده|برآورده|ارزیابی|جواب|درخواست|دستور|مورد)",
    services=r"(?:نمی ?توانم|نمی ?تونم|قادر نیستم|نخواهم|مجاز نیستم|ندارم|نمی ?خواهم|نمی ?دهم|نمی ?کنم|معذورم|امکان ?پذیر نیست|ممکن نیست)",
    alone=r"(?:نمی ?توانم ⋯(?:کمک|پاسخ|ارائه|انجام|همکاری|راهنمایی|توضیح|بنویس|جواب|اطلاعات|ارزیابی|ارائه|شرکت|بحث|ادامه|تولید)|قادر (?:نیستم|به ⋯ نیستم)|باید (?:ان را )?رد کنم|رد می ?کنم|(?:امتناع|خودداری) می ?کنم)",
    gap=CHARACTERS,
)

_HEBREW = RefusalWords(
    unable=(
        r"(?:(?:לא|איני|אינני|אין) ?(?:יכול\w*|אוכל|מסוגל\w*|רשאי\w*|מורש\w*|באפשרותי|ביכולתי|מוכנ?\w*|ניתן לי"
        r"|אסייע|אעזור|אענה|אשתתף)|נמנע ממני|אסור לי)"
    ),
    services=(
        r"(?:לעזור|לסייע|לספק|לענות|להשיב|לתת|להציע|להשתתף|לדון|לכתוב|ליצור|להסביר|לעשות|למלא|לבצע|להמשיך"
        r"|להיענות|לתמוך|להעריך|לשתף|להגיב|לנתח|לעסוק|סיוע|עזרה)"
    ),
    alone=r"(?:אני (?:מסרב|נאלץ לסרב|נאלצת לסרב|חייב\w* לסרב|דוחה)|עליי? לסרב|עלי לסרב|(?:מפר\w*|נוגד\w*) את (?:ה)?(?:הנחיות|כללים|מדיניות|עקרונות)\w*)",
    gap=CHARACTERS,
)

_HINDI = RefusalWords(
    unable=(
        r"(?:मदद|सहायता|सहायक|बात|टिप्पणी|राय|शामिल|पालन|जवाब|उत्तर|जानकारी|प्रदान|निर्देश|बता|चर्चा|भाग|लिख|बना|पूरा|पूरी|समझा|सहयोग|अनुरोध"
        r"|मूल्यांकन|सलाह|समर्थन|विश्लेषण|काम|कार्य|यह|ऐसा)"
    ),
    services=(
        r"(?:नहीं (?:\S+ )?(?:सकत[ाी] ?हू|सकता$|सकती$|सकूं?|सकूँ|पाऊ|करू|दू|लू|बताऊ|लिखू|बनाऊ)|नहीं (?:कर|दे|हो|बता|लिख|बना|ले)"
        r" (?:सकत[ाी]|पाऊ|पा रह)|(?:असमर्थ|अक्षम) हू|में असमर्थ|संभव नहीं|की अनुमति नहीं|(?:सकत[ाी]) नहीं)"
    ),
    alone=r"(?:(?:मुझे|मैं) ⋯(?:मना कर|इनकार|इंकार|अस्वीकार)(?:ना पड़|ना होगा|ता हू|ती हू| करता| करती)|(?:इनकार|इंकार|अस्वीकार) कर(?:ता|ती|ना) (?:हू|पड़|होगा)|(?:दिशानिर्देश|दिशा-निर्देश|नीति|सिद्धांत)⋯(?:उल्लंघन|खिलाफ|विरुद्ध))",
    gap=CHARACTERS,
)

_BENGALI = RefusalWords(
    unable=r"(?:সাহায্য|সহায়তা|উত্তর|তথ্য|প্রদান|আলোচনা|লিখ|তৈরি|ব্যাখ্যা|অংশ|পূরণ|অনুরোধ|এটি|কাজ|মূল্যায়ন)",
    services=r"(?:পারব না|পারবো না|পারছি না|পারি না|অক্ষম|সম্ভব নয়|করব না|দেব না)",
    alone=r"(?:(?:অস্বীকার|প্রত্যাখ্যান) কর(?:ছি|তে হ|তে বাধ্য|ি))",
    gap=CHARACTERS,
)

_URDU = RefusalWords(
    unable=r"(?:مدد|جواب|معلومات|فراہم|ہدایات|بات|حصہ|لکھ|بنا|پورا|پوری|وضاحت|تعاون|درخواست|جائزہ|کام|یہ)",
    services=r"(?:نہیں (?:\S+ )?(?:سکتا|سکتی|سکوں|سکتے|کروں|دوں)|سے قاصر|ممکن نہیں|کی اجازت نہیں)",
    alone=r"(?:(?:انکار|معذرت) (?:کرتا|کرتی|کرنا) (?:ہوں|پڑ|ہوگا))",
    gap=CHARACTERS,
)

_OTHER_INDIC = RefusalWords(
    alone=(
        r"(?:உதவ⋯(?:முடியாது|இயலாது|மாட்டேன்|முடியவில்லை)|(?:பதில்|பதிலளிக்க|வழங்க|செய்ய|பங்கேற்க|நிறைவேற்ற|எழுத)⋯(?:முடியாது|இயலாது"
        r"|மாட்டேன்)|மறுக்கிறேன்|மறுக்க வேண்டும்"
        r"|(?:సహాయ|సాయ|సమాధాన|సమాచార|వివర)⋯(?:లేను|లేము|కుదరదు)|(?:అందించ|చేయ|ఇవ్వ|రాయ)లేను|తిరస్కరిస్తున్నాను"
        r"|(?:मदत|उत्तर|माहिती|सहाय्य)⋯(?:शकत नाही|शकणार नाही|करणार नाही)|नकार (?:देतो|देते|द्यावा)"
        r"|(?:મદદ|જવાબ|માહિતી|સહાય)⋯(?:શકતો નથી|શકતી નથી|શકું નહીં|શકું તેમ નથી|શકીશ નહીં)"
        r"|(?:ਮਦਦ|ਜਵਾਬ|ਜਾਣਕਾਰੀ)⋯(?:ਨਹੀਂ ⋯ਸਕ|ਅਸਮਰੱਥ))"
    ),
    gap=CHARACTERS,
)

_CHINESE = RefusalWords(
    unable=(
        r"(?:(?:^|[,:;\s]|我(?:们|們)?|本人|本助手|助手|但|所以|因此|恕|歉|憾|起|思|模型|助理|系统|ai)"
        r"(?:也|是|就|实在|實在|确实|確實|真的|暂时|暫時|目前|均|都|并|並|还|可能|恐怕|将|將|现在|在此|很遗憾|对此|對此|一律|只能)*"
        r"(?:不能|无法|無法|不会|不會|不可以|没办法|沒辦法|没有办法|没法|沒法|不便|不愿|不願|不想|难以|難以|不得|不方便|不被允许|不應|不应该|不打算|没有权限|无权|不允许我|不)(?!不|没|說|怪))"
    ),
    services=(
        r"(?:帮|幫|协助|協助|提供|回答|回應|回应|答复|答覆|满足|滿足|完成|参与|參與|讨论|討論|写|寫|撰|生成|创作|创建"
        r"|解释|解釋|说明|說明|执行|執行|处理|處理|支持|配合|给出|給出|给你|给您|继续|繼續|评估|評估|评价|評價|分析|判断"
        r"|告诉|告訴|分享|做$|做到|这样做|這樣做|这么做|遵从|遵從|遵循|介绍|服务|服務|教你|教您|涉及|透露|从命|答应|接受|代劳)"
    ),
    alone=(
        r"(?:恕(?:我)?(?:不能|无法|無法|难|難)|我(?:们|們)?(?:必须|必須|只能|不得不|选择|選擇|需要|得|要|将|會|会|在此)*"
        r"(?:拒绝|拒絕|婉拒|谢绝)(?!了|过|過)|(?:请求|請求|问题|問題|要求|内容|內容|任务|任務|话题|提问)⋯(?:违反|違反|违背|違背|不符合|有悖)⋯"
        r"(?:准则|準則|政策|规定|規定|原则|原則|指南|规范|規範|条款|价值观)|爱莫能助|愛莫能助|无能为力|無能為力"
        r"|超出(?:了)?我|做不到|办不到|不在我的⋯范围|(?:帮|幫)不了|(?:帮|幫)不上|不能(?:这样|這樣|这么|那样)做)"
    ),
    gap=CHARACTERS,
)

_JAPANESE = RefusalWords(
    unable=(
        r"(?:お話し|話す|話せ|触れる|触れ|語る|ご紹介|述べ|期待に|扱え|お力に|手伝|手助け|協力|支援|サポート|お答え|回答|答え|返答|返信|提供|案内|対応|応じ|応え|お応え|教え|説明|参加|議論|作成|書く|書き|書け"
        r"|生成|評価|判断|実行|続け|助け|お力|力に|要望|依頼|リクエスト|援助|加担|執筆|お伝え|伝える|助言|行う|行え|扱う|お受け|引き受け|従う|従え|それは|これは|承る|分析|採点)"
    ),
    services=(
        r"(?:(?:沿|添|話|触れら|扱)(?:え|せ|れ)?(?:ません|ず|ない$)|できません|できない$|できかね|でき兼ね|致しかね|いたしかね|致し兼ね|出来ません|出来ない$|出来かね|かねます|られません|られない$"
        r"|わけにはいき|わけには参り|ことはありません|つもりはあり|いたしません|致しません|しません|なれません|けません|えません|控えさせ|差し控え|遠慮"
        r"|不可能|ご容赦|ことはでき|ない方針|許可されて(?:いません|おりません)|しかねます|できないんです|できないのです)"
    ),
    alone=(
        r"(?:(?:お断り|拒否|辞退|拒絶)(?:し(?:ます|ました|なければ)|いたし|致し|させて|せざる|申し上げ|します)"
        r"|(?:リクエスト|依頼|要求|質問|内容|要望)⋯(?:違反|反し|反する|抵触)(?:して|し|ます|ため)|ガイドライン⋯(?:違反|反し|反する)"
        r"|お断りです)"
    ),
    gap=CHARACTERS,
)

_KOREAN = RefusalWords(
    unable=(
        r"(?:다룰|다루|이야기|얘기|말씀|언급|부탁|의견|도움|도와|도울|돕|지원|제공|답변|대답|답을|답해|답할|응답|응할|응하|응해|협조|참여|논의|작성|생성|설명|수행|처리|따르|따를|알려|이행"
        r"|계속|평가|판단|공유|만들|협력|관여|요청|질문|들어\s?드|쓸|써\s?드|해\s?드릴|할 수|분석|진행|관해|그건|그것은|이것은)"
    ),
    services=(
        r"(?:수(?:가|는|도)? 없(?:습|어|네|음|을|다|$)|못합니다|못해|못하|않겠|않을 것|(?:하|드리|돕|만들|쓰|따르|지원하)지 않습니다|어렵습니다|어려울|어려운 점|불가능|불가합|드리지 못|드리기 (?:어렵|곤란|힘들)"
        r"|곤란합|힘듭니다|힘들 것|힘들겠)"
    ),
    alone=r"(?:(?:거절|거부|사양|사절)(?:하겠|합니다|해야 (?:합|하)|할 수밖에|드립|하고자)|(?:요청|질문|내용|요구)⋯(?:위반|위배|어긋)(?:되|하|됩|합|나))",
    gap=CHARACTERS,
)

_VIETNAMESE = RefusalWords(
    unable=(
        r"(?:(?:\b(?:tôi|mình|em|chúng tôi|trợ lý)\b ␣|^|[,.] (?:nhưng |rất tiếc )?|tiếc(?: là)?,? |lỗi,? (?:nhưng )?)"
        r"(?:rất tiếc |xin lỗi |hiện )?(?:không thể|không được phép|không có khả năng|sẽ không|không có quyền"
        r"|không muốn|chưa thể|không sẵn sàng|không tiện|không đồng ý)\b)"
    ),
    services=(
        r"(?:giúp|hỗ trợ|cung cấp|trả lời|đáp ứng|thực hiện|tham gia|thảo luận|viết|tạo|giải thích|làm"
        r"|tiếp tục|chia sẻ|đưa ra|đánh giá|phân tích|hướng dẫn|nói|tuân|bàn|xử lý|chấp nhận|phục vụ|mô tả)"
    ),
    alone=r"(?:\b(?:tôi|mình|em|chúng tôi) (?:xin phép |xin |cũng )?không (?:giúp|hỗ trợ|cung cấp|trả lời|thảo luận|tham gia|viết|bàn)|\bnằm ngoài (?:khả năng|phạm vi)|\b(?:tôi|mình|em|chúng tôi) (?:xin |phải |buộc phải |đành |xin phép |cần |sẽ |buộc lòng )*từ chối|^(?:xin |rất tiếc phải )từ chối|(?:vi phạm|trái với|đi ngược) ␣(?:nguyên tắc|chính sách|quy định|hướng dẫn))",
)

_INDONESIAN_AND_MALAY = RefusalWords(
    unable=(
        r"(?:(?:\b(?:saya|aku|kami)\b ␣|^|[,.] (?:tetapi |tapi |namun )?|maaf,? )"
        r"(?:tidak (?:bisa|dapat|akan|boleh|mampu|diizinkan|diperbolehkan|bersedia|berkenan|diperkenankan|mau|berwenang)"
        r"|tak (?:bisa|dapat|boleh|mampu)|enggan|nggak bisa|gak bisa|belum (?:bisa|dapat)|tidak mungkin)\b)"
    ),
    services=(
        r"(?:\w*bantu|memberi|menyediakan|menjawab|memenuhi|melayani|berpartisipasi|ikut|mem?bahas"
        r"|membincang|menulis|membuat|menjelas|menerangkan|melakukan|melanjut|meneruskan|berbagi|membagi"
        r"|mendukung|menyokong|menilai|menanggap|melaksana|terlibat|menghasilkan|memproses|bekerja ?sama"
        r"|menyampai|menuruti|mengikuti|menganalisis|mengabulkan|menunaikan|berkongsi|menerima|begitu)"
    ),
    alone=r"(?:\b(?:tidak|tak|belum) (?:dapat|bisa|akan|boleh|mampu) (?:saya|kami|aku) (?:penuhi|bantu|jawab|lakukan|layani|berikan|bahas|tulis|proses)|\b(?:saya|kami|aku) (?:memilih|lebih suka) (?:untuk )?tidak\b|\bdi luar (?:kemampuan|batas|wewenang|cakupan)|\b(?:saya|kami|aku) (?:harus |terpaksa |wajib |perlu |dengan \w+ |memilih untuk |mesti )*menolak|(?:melanggar|bertentangan dengan) ␣(?:pedoman|kebijakan|prinsip|aturan|garis panduan|dasar)\w*)",
)

_THAI = RefusalWords(
    unable=r"(?:ไม่สามารถ|ไม่อาจ|ไม่ได้รับอนุญาต|จะไม่|คงไม่|ไม่ขอ|ไม่สะดวก|ไม่ยินดี|ไม่อยู่ในฐานะ)",
    services=(
        r"(?:ช่วย|ให้ข้อมูล|ให้คำ|ให้ความ|ตอบ|ปฏิบัติตาม|สนับสนุน|เขียน|สร้าง|อธิบาย|ทำตาม|ทำเช่น|ทำแบบ|ทำสิ่ง|ทำงาน|เข้าร่วม|พูดคุย|ดำเนินการ|แนะนำ"
        r"|บอก|ประเมิน|ให้บริการ|มีส่วนร่วม|ร่วมมือ|วิเคราะห์|อภิปราย)"
    ),
    alone=r"(?:(?:ขอ|ต้อง|จำเป็นต้อง|ขออนุญาต)ปฏิเสธ|ช่วย⋯ไม่ได้|ขอไม่ตอบ|(?:ขัดต่อ|ละเมิด|ผิด)⋯(?:หลักเกณฑ์|นโยบาย|แนวทาง|หลักการ))",
    gap=CHARACTERS,
)

_SWAHILI = RefusalWords(
    unable=r"(?:\b(?:siwezi|sitaweza|siruhusiwi|sitakusaidia|sina (?:uwezo|ruhusa)|haiwezekani)\b)",
    services=r"(?:kusaidia|kukusaidia|kutoa|kujibu|kutimiza|kushiriki|kuandika|kufanya|kuendelea|kujadili|kutathmini|kukupa|kueleza|hilo|hili|na ombi)",
    alone=r"(?:\b(?:nakataa|lazima nikatae|naomba kukataa|ninakataa|sitakusaidia)\b)",
)

_FILIPINO = RefusalWords(
    alone=r"(?:\bhindi (?:po )?(?:ko|ako) (?:po )?(?:maaaring|maaari|pwedeng|pwede|kayang|makaka\w+|maka\w+|magagawa|matutulungan|masasagot|maibibigay|tutulong|sasagot)|\b(?:tumatanggi|tinatanggihan) (?:ako|ko))",
)

_CATALAN = RefusalWords(
    unable=r"(?:\bno (?:et |us |li |ho |em )*(?:puc|podré|vull|estic|sóc capaç|és possible)\b)",
    services=r"(?:ajud|respon|proporcion|donar|oferir|particip|discut|escri|crear|explic|fer(?:-ho)? |fer-ho|continu|complir|assist|atendre|avaluar)",
    alone=r"(?:\bhe de ␣(?:refusar|rebutjar|declinar)|\bem nego\b|\brefuso\b)",
)

LANGUAGES: tuple[RefusalWords, ...] = (
    _ENGLISH,
    _GERMAN,
    _FRENCH,
    _SPANISH,
    _PORTUGUESE,
    _ITALIAN,
    _DUTCH,
    _SWEDISH,
    _DANISH_AND_NORWEGIAN,
    _FINNISH,
    _POLISH,
    _CZECH_AND_SLOVAK,
    _CROATIAN_AND_SERBIAN,
    _RUSSIAN,
    _UKRAINIAN,
    _BULGARIAN,
    _ROMANIAN,
    _HUNGARIAN,
    _GREEK,
    _TURKISH,
    _ARABIC,
    _PERSIAN,
    _HEBREW,
    _HINDI,
    _BENGALI,
    _URDU,
    _OTHER_INDIC,
    _CHINESE,
    _JAPANESE,
    _KOREAN,
    _VIETNAMESE,
    _INDONESIAN_AND_MALAY,
    _THAI,
    _SWAHILI,
    _FILIPINO,
    _CATALAN,
)


def word_pattern(source: str) -> re.Pattern[str]:
    """Compile a pattern for folded text."""
    return re.compile(unicodedata.normalize("NFKC", source).translate(LETTERS))


# Courtesies, regrets and self-descriptions that stand before a refusal.
APOLOGY = word_pattern(
    r"\b(?:sorry|apolog\w+|regret(?:s|fully|tably)?|unfortunately|forgive me|pardon"
    r"|entschuldig\w*|verzeih\w*|leider|bedau\w+|tut mir (?:sehr |wirklich |aufrichtig )?leid"
    r"|désolée?s?|navrée?s?|excus\w+|regrett\w+|malheureusement|hélas"
    r"|lo (?:siento|lamento)|lamento|lamentablemente|perdón\w*|disculp\w*|desafortunadamente"
    r"|desgraciadamente|desculp\w*|sinto muito|lamentavelmente|infelizmente|peço perdão"
    r"|mi (?:dis)?spiace|scus\w+|purtroppo|sono spiacente|sono desolat\w+"
    r"|het spijt|sorry|helaas|excuses|förlåt|tyvärr|ledsen|beklag\w*|desværre|dessverre|undskyld"
    r"|unnskyld|valitettavasti|anteeksi|pahoittelen|olen pahoillani"
    r"|przepraszam\w*|niestety|przykro mi|wybacz\w*|omlouv\w+|bohužel|je mi líto|ospravedlňujem|žiaľ"
    r"|žao mi je|nažalost|ispričavam|извин\w+|прости\w*|к сожалению|сожале\w+|увы|вибач\w+|на жаль"
    r"|перепрошую|съжалявам|за съжаление|îmi pare rău|din păcate|scuze|sajnál\w+|bocsá\w+|elnézést"
    r"|λυπάμαι|συγγνώμη|δυστυχώς|üzgünüm|özür dilerim|maalesef|ne yazık ki|kusura bakm\w+|affed\w+"
    r"|samahani|pole|paumanhin|pasensya|ho sento|malauradament|xin lỗi|rất tiếc|tiếc là|thứ lỗi"
    r"|maaf\w*|mohon maaf|sayangnya|harap maklum)\b"
    r"|\b(?:و)?(?:اسف\w*|عذرا|للاسف|اعتذر|معذر\w+|متاسف\w*|ببالغ الاسف|ببخشید|متاسفانه|پوزش)"
    r"|מצטער|סליחה|לצערי|מתנצל|माफ़?|क्षमा|खेद|दुर्भाग्य|অফসোস|দুঃখিত|ক্ষমা|معذرت|معاف|افسوس"
    r"|மன்னி|வருந்து|క్షమించ|माफ करा|માફ|ਮਾਫ"
    r"|抱歉|对不起|對不起|不好意思|遗憾|遺憾|请原谅|請見諒|请见谅|请谅解"
    r"|申し訳|申しわけ|すみません|すいません|恐れ入り|残念|ごめん|お詫び|恐縮"
    r"|죄송|미안|유감|안타깝|송구|양해|ขอโทษ|ขออภัย|เสียใจ"
)
# Words that only excuse oneself, as opposed to "unfortunately". No thought begins with them.
EXCUSE = word_pattern(
    r"^(?:(?:i am|i'm|im|i|please|no|oh|es tut mir|tut mir|je suis|lo|mi|me|îmi|het|jag är|je mi|ich bitte um)"
    r"[ ,]+)?(?:(?:very|so|really|truly|deeply|must|sehr|wirklich|leider|vraiment|sincèrement|muito|molto"
    r"|thành thật|mohon|吧)[ ,]+)?"
    r"(?:sorry|apolog\w+|forgive me|pardon|entschuldig\w*|verzeih\w*|leid\b|bedauere|désolée?\b|navrée?\b|excusez"
    r"|siento|lamento|disculp\w+|perdon\w*|perdón\b|desculp\w*|sinto muito|peço (?:desculpa|perdão)|(?:dis)?spiace"
    r"|scus\w+|sono (?:spiacente|desolat\w+)|spijt|excuses|mijn excuses|förlåt|ledsen|beklager|undskyld|unnskyld"
    r"|anteeksi|przepraszam|wybacz\w*|przykro mi|omlouv\w+|líto|извин\w+|прости\w*|прошу прощения|вибач\w+"
    r"|перепрошую|съжалявам|pare rău|scuze|sajnálom|elnézést|bocsán\w+|λυπάμαι|συγγνώμη|üzgünüm|özür dilerim"
    r"|kusura bakm\w+|samahani|xin lỗi|xin thứ lỗi|maaf\w*"
    r"|(?:ا?نا )?اسف|عذرا|اعتذر|عفوا|متاسف|ببخشید|پوزش|מצטער|סליחה|מתנצל|मुझे खेद|मुझे माफ़?|माफ़?|क्षमा|खेद|দুঃখিত|ক্ষমা"
    r"|معذرت|மன்னி|抱歉|对不起|對不起|不好意思|很抱歉|非常抱歉|请原谅|申し訳|すみません|ごめん|죄송|미안|ขอโทษ|ขออภัย|เสียใจด้วย)"
)
NEGATION = word_pattern(
    r"\b(?:not|no|n't|never|cannot|nothing|none|against|nicht|kein\w*|nein|ne|n'|pas|non|rien|aucun\w*|nada|não|nem"
    r"|niet|geen|nee|inte|ikke|ej|en|ei|nie|ne\w+|не|нет|нельзя|ні|nu|nem|δεν|όχι|değil|hayır|siwezi|không|tidak|tak|bukan)\b"
    r"|n't\b|\b\w+(?:[ae]m[ae]m|mıyorum|miyorum)\b|لا|لن|ليس|غير|لست|عدم|ن[می]|לא|אין|नहीं|असमर्थ|না|نہیں|முடியாது|不|无法|無法|没"
    r"|ません|ない|かね|ず|못|없|않|안 |어렵|ไม่"
)
# No thought of an agent begins so either, unless it declines.
AS_A_MODEL = word_pattern(
    r"language model|\bas an? (?:\w+ )?(?:ai|assistant|llm|model)\b|sprachmodell|\bals (?:eine? )?ki\b|modèle de langage"
    r"|\ben tant qu(?:e|'une?) ia|modelo de lengua|\bcomo (?:una? |uma? )?ia\b|modelo de linguagem|modello linguistico"
    r"|\bcome ia\b|taalmodel|\bals ai\b|język\w+|языков\w+ модел|мовн\w+ модел|искусственн|نموذج\w*\s*(?:ال)?لغو|ذكاء"
    r"|语言模型|語言模型|人工智能|言語モデル|人工知能|\baiとして|언어 모델|인공지능|\bai로서|dil modeli|yapay zek|mô hình ngôn ngữ"
    r"|model bahasa|भाषा मॉडल|एआई|språkmodell|sprogmodel|kielimalli|nyelvi modell|model lingvistic|γλωσσικό μοντέλο|מודל שפה"
)
SOFT = word_pattern(
    r"\b(?:thank(?:s| you)|i (?:understand|appreciate|hear|see|get|realize|recognize|know)\b"
    r"|as an? (?:\w+ )?(?:ai|assistant|language model|model|llm)|i(?:'m| am) (?:just |only )?an? (?:\w+ )?"
    r"(?:ai|assistant|language model|model)|i (?:have to|must|need to) be (?:honest|clear|direct)|no\b|hello|hi"
    r"|hallo|bonjour|hola|olá|ciao|danke|merci|gracias|obrigad\w|grazie|bedankt|dziękuję|спасибо|дякую"
    r"|mulțumesc|ευχαριστώ|teşekkür\w*|cảm ơn|terima kasih|als ki\b|ich verstehe|ich bin ein|je comprends"
    r"|entiendo|comprendo|entendo|compreendo|capisco|ik begrijp|rozumiem|понимаю|розумію|anlıyorum"
    r"|tôi hiểu|saya (?:mengerti|memahami|faham)|soy un\w*|sou um\w*|je suis (?:un|une)|sono un\w*)\b"
    r"|شكرا|افهم|אני מבין|תודה|धन्यवाद|समझता|समझती|ধন্যবাদ|谢谢|感谢|理解|明白|作为|您好|你好|ありがとう|理解|承知|감사"
    r"|이해|ขอบคุณ|เข้าใจ"
    r"|\b(?:request|prompt|question|anfrage|demande|solicitud|petición|pedido|solicitação|richiesta|verzoek"
    r"|prośba|запрос|запит|isteğ?k?|istek|yêu cầu|permintaan)\b.{0,40}(?:harm|illegal|danger|unethic|violat"
    r"|inappropriat|verstöß|gefähr|illégal|ilegal|illegal|nuisib|dañin|peligros|perigos|pericol|gevaar"
    r"|szkodliw|незакон|вред|шкідлив|zararlı|yasa|nguy hại|berbahaya)"
)
APOLOGY_FILLER = word_pattern(
    r"\b(?:i|i'm|am|'m|very|so|really|truly|deeply|my|please|accept|but|no|offer|it|this|that|es|tut|mir|sehr"
    r"|wirklich|je|suis|vraiment|profondément|lo|mucho|muito|molto|mi|je me|te|ik|het|me|ich|bin|bitte|uns"
    r"|я|очень|çok|tôi|saya|jag|är|jeg|er|nie)\b|我|很|非常|真的|私|誠に|本当に|大変|ません|ございません|ありません|합니다|해요|정말|저는"
    r"|ครับ|ค่ะ|انا|جدا|मुझे|मैं|हूँ|हूं|है|करें|कीजिए|करना"
)

# What shows that an agent is at work: it speaks of the user, of rules, of what ought to be done.
ABOUT_USER = word_pattern(
    r"\b(?:the user|users\b|the (?:asker|person|requester)|they (?:ask|want|seek)|der nutzer|die nutzerin"
    r"|der benutzer|l'utilisat\w+|el usuario|la usuaria|o usuário|o utilizador|l'utente|de gebruiker"
    r"|użytkowni\w+|пользовател\w+|користувач\w+|kullanıcı\w*|người dùng|pengguna|utilizatorul"
    r"|användaren|brugeren|brukeren|käyttäjä\w*|uživatel\w*|felhasználó\w*|χρήστη\w*)"
    r"|المستخدم|کاربر|המשתמש|उपयोगकर्ता|ব্যবহারকারী|صارف|用户|使用者|用戶|ユーザー|사용자|ผู้ใช้"
)
AT_WORK = word_pattern(
    r"(?<![\w.])[a-z]+(?:_[a-z]+)*\.\d+\b|\b(?<!my )(?<!our )(?:the |a |this |that )?rules?\b(?! of my)"
    r"|\bpolic(?:y|ies) (?:on|about|that say|requires?|allows?|\w+ \d)|\bthe (?:\w+ )?policy\b(?! violat)"
    r"|\b(?:i|we|one) (?:should|ought|would need)\b|\bshould (?:be )?(?:declin|refus|answer)\w*"
    r"|\b(?:the|my) (?:final )?(?:response|answer|reply) (?:should|must|will|has|needs|can|may|declin|refus)"
    r"|\binstead,? i (?:will|should|shall|must)\b|\bon the other hand\b|\bwhether\b"
    r"|\bich sollte\b|\bje devrais\b|\bdebería\b|\bdeveria\b|\bdovrei\b|\bik zou moeten\b|\bpowinienem\b|\bpowinnam\b"
    r"|\bследует ли\b|\bмне следует (?!не)|应该拒绝|應該拒絕|应当拒绝|断るべき|拒否すべき|거절해야 한다|거절하는 것이"
    r"|\b(?:regel|règle|regla|regra|regola|reguł\w|правил\w|kural\w*|quy tắc|aturan|peraturan) \S*\d"
    r"|(?:规则|規則|ルール|규칙|القاعدة|नियम|กฎ) ?\S{0,3}\d"
    r"|\breddetmeliyim\b|\bnên từ chối\b|\bsebaiknya\b|\bينبغي\b|चाहिए"
)
PARTLY = word_pattern(
    r"(?<!be )(?<!take )(?<!play )(?<!any )\b(?:part|parts|portion|half|piece|specifics)\b"
    r"|\b(?:teil|teile|aspekt|partie(?! de)|deel|onderdeel|część|части?|частин\w|bölüm\w*|kısm\w*|phần|bagian"
    r"|esa parte|esta parte|essa parte|questa parte|quella parte|cette partie)\b"
    r"|这部分|这一部分|那部分|部分内容|その部分|この部分|부분|जिस हिस्से|हिस्से|هذا الجزء|الجزء"
)
OFFERS = word_pattern(
    r"\b(?:but|however|though|instead)\b.{0,20}\b(?:i|we) (?:can|could|will|would|may|am able|should|'ll)\b"
    r"(?! ?not\b|'t)"
    r"|\baber\b.{0,12}\bkann\b|\bkann aber\b|\bmais je peux\b|\bpero (?:sí )?(?:te |le )?puedo\b|\bmas posso\b"
    r"|\bma posso\b|\bmaar ik kan\b|\bno?\b но .{0,4}могу\b|\bно (?:я )?(?:могу|готов)\b|但(?:是)?我?(?:可以|能)"
    r"|(?:しかし|ただし|ですが).{0,30}できます|하지만.{0,30}수 있|\bama\b.{0,30}ebilirim|\bnhưng tôi có thể\b"
    r"|\b(?:tapi|tetapi|namun) saya (?:bisa|dapat)\b|\bلكن\w* (?:يمكنني|استطيع)|लेकिन मैं.{0,40}सकत"
)
DEICTIC = word_pattern(
    r"\b(?:that|this|these|such|your|it|the (?:request|task|prompt)|damit|dabei|hierbei|das|dies\w*|ihre\w*"
    r"|deine\w*|cela|ça|cette|ce|votre|ta|eso|esto|esta|este|su|tu|isso|isto|essa|sua|ciò|questo|questa|tua"
    r"|dit|dat|deze|uw|je|to|tym|tej|tego|это\w*|этим|этой|вашу|цим|ц[ьі]\w+|bu|buna|bunu|điều này|yêu cầu|này"
    r"|itu|ini|anda)\b|هذا|ذلك|هذه|طلبك|इस|यह|आपके|आपकी|这|此|该|您的|你的|この|その|それ|ご依頼|ご要望|이|그|해당|เรื่องนี้|นี้|คำขอ"
)
CONCLUDES = word_pattern(
    r"\b(?:request|prompt|question|message|asks?|asking|wants?|seeks?|intend\w*)\b.*"
    r"\b(?:so|therefore|thus|hence|which means|which is why)\b"
)
ASKS_FIRST = word_pattern(r"\b(?:without|until|unless)\b|\bbefore (?:you|i|we)\b")
LETTER = word_pattern(
    r"^\W*(?:dear|liebe[rs]?|sehr geehrte\w*|cher|chère|estimad\w+|querid\w+|gentile|car[oa]|prezad\w+"
    r"|geachte|beste|drogi|droga|szanown\w+|уважаем\w+|дорог\w+|sayın|kính gửi|yth|subject|betreff|objet"
    r"|asunto|尊敬|亲爱|拝啓)\b"
)
