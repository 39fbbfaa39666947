"""The words by which a rule is read without a model: English, German, French and Spanish.

They find what is plain to see: the same rule twice, a rule and its opposite, a rule that only says
"appropriate". What is meant by a rule only a model or a person can tell.
"""


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


VAGUE = _listed(
    "appropriate appropriately inappropriate reasonable reasonably unreasonable suitable suitably"
    " proper properly adequate adequately sensible sensibly good nice bad fair well careful"
    " carefully caution cautious cautiously sensitive sensitively responsible responsibly ethical"
    " ethically safe safely helpful helpfully harmful acceptable unacceptable best better relevant"
    " necessary needed sufficient sufficiently professional professionally balanced"
    " thoughtful thoughtfully timely polite politely respectful respectfully judgement judgment discretion problematic questionable excessive"
    " angemessen angemessene angemessenen unangemessen vernünftig sinnvoll geeignet sorgfältig"
    " vorsichtig verantwortungsvoll ethisch gut hilfreich sicher notwendig nötig ausreichend"
    " approprié appropriée appropriés raisonnable convenable prudent prudente responsable éthique"
    " bon bonne utile nécessaire suffisant adéquat"
    " apropiado apropiada adecuado adecuada razonable prudente responsables ético ética bueno buena"
    " útil necesario suficiente"
)
"""Words that two readers fill with different things."""

HEDGES = (
    "unless appropriate",
    "where appropriate",
    "when appropriate",
    "if appropriate",
    "as appropriate",
    "where reasonable",
    "if reasonable",
    "within reason",
    "as needed",
    "if needed",
    "as necessary",
    "if necessary",
    "when necessary",
    "as you see fit",
    "at your discretion",
    "use your judgement",
    "use your judgment",
    "use your best judgement",
    "use your best judgment",
    "use good judgement",
    "use good judgment",
    "use common sense",
    "and so on",
    "etc",
    "wo angemessen",
    "falls angemessen",
    "nach ermessen",
    "si nécessaire",
    "le cas échéant",
    "si es necesario",
    "cuando proceda",
)
"""Exceptions that leave the whole rule to whoever reads it."""

EFFORTS = (
    "try to",
    "try not to",
    "strive",
    "endeavour",
    "endeavor",
    "aim to",
    "seek to",
    "attempt to",
    "make an effort",
    "do your best",
    "be mindful",
    "be aware",
    "bear in mind",
    "keep in mind",
    "remember",
    "understand",
    "feel",
    "believe",
    "care about",
    "versuche",
    "bemühe",
    "bemühen",
    "essayer",
    "essayez",
    "s'efforcer",
    "intentar",
    "intenta",
    "procurar",
)
"""What asks for an attempt or a state of mind, which no response shows."""

PROHIBITS = _listed(
    "not never no don't dont cannot can't mustn't won't without nor neither nobody none avoid avoids"
    " refuse refuses decline declines forbid forbids forbidden prohibit prohibits prohibited"
    " withhold withholds omit omits exclude excludes reject rejects stop refrain"
    " nicht nie niemals kein keine keinen keiner verboten ablehnen vermeide vermeiden"
    " ne pas jamais aucun aucune refuser éviter interdit"
    " nunca jamás ningún ninguna rechazar evitar prohibido"
)
"""Words that turn a rule into a limit."""

UNSPACED_PROHIBITS = (
    "不要",
    "不得",
    "不可",
    "不能",
    "不应",
    "禁止",
    "严禁",
    "请勿",
    "拒绝",
    "避免",
    "しない",
    "してはいけない",
    "してはならない",
)
"""The same where words have no spaces."""

STOP = _listed(
    "the and for any all are was were been being that this these those with from into onto over under"
    " they them their there then than its his her who whom whose which what when where why how"
    " a an as at be by do does did if in is it of on or so to up we you your i me my us our he she"
    " must may might shall should will would can could always ever only also even such other others"
    " more most some each every both either one about because but while during after before thing things way ways"
    " time times case cases"
    " user users person people somebody anybody someone anyone response responses answer answers"
    " assistant model reply replies give gives given giving provide provides providing tell tells"
    " telling say says saying write writes help helps helping make makes allow allows allowed permit"
    " permits permitted include includes including disclose discloses offer offers share shares"
    " explain explains describe describes state states mention mentions request requests requested"
    " ask asks asked question questions accept accepts"
    " der die das den dem des ein eine einen einer und oder für mit von zu im in auf ist sind wird"
    " werden soll sollen muss müssen darf dürfen kann können immer antwort antworten nutzer"
    " le la les un une des et ou pour avec dans sur est sont doit doivent peut toujours réponse"
    " el los las una unos unas y o para con en por es son debe deben puede siempre respuesta"
)
"""Words that say nothing of what a rule is about."""

AT_MOST = (
    r"(?:at most|no more than|not more than|up to|fewer than|less than|a maximum of"
    r"|höchstens)"
)
AT_LEAST = (
    r"(?:at least|no fewer than|no less than|not less than|more than|a minimum of"
    r"|mindestens)"
)
