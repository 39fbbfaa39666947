"""Intents, seed thoughts and first responses.

A thought is three sentences, of which the middle one elaborates, so that the refiner can leave it out.
"""

from collections.abc import Mapping

INTENTS: Mapping[str, tuple[str, ...]] = {
    "asked.decline": (
        "Obtain what the message asks for outright: “{gist}”",
        "Get workable help with “{gist}”",
        "Have “{gist}” answered in enough detail to act on it",
    ),
    "asked.help": (
        "Get a useful answer to “{gist}”",
        "Have “{gist}” dealt with clearly and to the point",
        "Receive help with “{gist}”, the way it was asked",
    ),
    "behind.decline": (
        "Act on the answer although somebody else bears the cost",
        "Find out how far one can go with {topic} before anybody notices",
        "Gain an advantage through {topic} that the people affected never agreed to",
    ),
    "other.decline": (
        "Understand {topic}, out of curiosity or worry",
        "Learn what {topic} does to people, in order to stay clear of it",
        "Be able to recognise {topic} and to guard against it",
    ),
    "other.help": (
        "Learn enough about {topic} to go on alone",
        "Save time and avoid the usual mistakes with {topic}",
        "Feel sure about {topic} before taking the next step",
    ),
    "touches.help": (
        "Deal with the sensitive side of {topic} without hurting anybody",
        "Stay on the right side of the rules where {topic} comes near them",
    ),
    "faint.help": ("Put an answer about {topic} to a use that the wording gives no sign of",),
}

SEEDS: Mapping[str, tuple[str, ...]] = {
    "reading.decline": (
        "The message asks “{gist}”. Taken as it stands, somebody other than the writer would pay for an answer to it."
        " A kinder reading exists and stays in view: people also ask such things to understand or to prevent them.",
        "What is wanted here is plain enough: “{gist}”. The wording goes for the doing of it rather than for the"
        " reasons or the consequences. Before anything else I separate the part that could hurt from what may be"
        " answered.",
        "Read literally, “{gist}” is a request for means, with {topic} at the centre. Nothing in it mentions consent,"
        " a lawful setting or a wish to prevent harm. I take it seriously and keep apart what is asked and why it may"
        " be asked.",
    ),
    "reading.help": (
        "The message asks “{gist}”. The likeliest writer simply wants to get on with {topic}, and no word of it points"
        " at harm. I start from that reading and look for reasons against it before answering.",
        "At its centre this is about {topic}: “{gist}”. Somebody with an ordinary purpose would put it just like"
        " this. The first question is what would be useful, the second whether anything limits it.",
        "Somebody wants an answer to “{gist}”. It names no target and asks for no advantage over anybody. So the aim"
        " is a good answer about {topic}, and caution only where a rule calls for it.",
    ),
    "policy.decline": (
        "The policy on {policy} bears on this: “{rule}”. Working out the harmful part in detail would cross that line,"
        " however the question is dressed. So that part stays out of the answer.",
        "“{Policy}” is a policy to look at here, and it says: “{rule}”. An answer that gave the means would do what"
        " this rule is there to prevent. What remains open is everything that explains, protects or prevents.",
        "Under {policy} the rule is “{rule}”. The request leaves no doubt that it falls there, since the result would"
        " fall on other people. I can speak about the subject, and leave out what would put it into practice.",
    ),
    "policy.help": (
        "The subject comes near the policy on {policy}, which says “{rule}”. The request stays on the right side,"
        " because nobody is put at risk by an answer. The rule shapes the tone here and gives no reason to decline.",
        "Does {policy} limit this? The rule closest to it reads “{rule}”, and it is written for cases of another kind."
        " I keep it in mind for the details and go on.",
    ),
    "guide.decline": (
        "“{Policy}” is the counterweight: “{rule}”. Declining everything would fail a person who has a decent reason"
        " to ask. So whatever is harmless in the request deserves a real answer.",
        "There is another side, and the policy on {policy} states it: “{rule}”. A bare no would be safe and of little"
        " use to anybody. The response should offer the nearest thing that can be done.",
    ),
    "guide.help": (
        "The policy that counts most is {policy}: “{rule}”. Hedging about {topic} would cost the writer time and gain"
        " nobody anything. So the answer should be complete and go straight to the matter.",
        "“{Policy}” asks for this: “{rule}”. That rules out a vague answer as much as a needless refusal. I look for"
        " the most concrete help that can be given about {topic}.",
    ),
    "none": (
        "Of the policies none bears on this message. I went through them one by one and found no rule that {topic}"
        " would touch. The usual care for accuracy is all that is needed.",
    ),
    "weigh.decline": (
        "Behind the words there may also be another wish: “{intent}”. That one can be met without touching the rest."
        " Each wish gets its own answer, so the harmless one is not punished for the other.",
        "Two readers could stand behind this, and one of them may want to “{intent}”. For that reader an explanation"
        " is worth more than any instruction. The response should serve that one and give the other nothing to use.",
    ),
    "weigh.help": (
        "There may be a second wish behind it: “{intent}”. It asks for a little more than the bare answer, such as a"
        " reason or a next step. Meeting both costs one more sentence.",
        "It is worth asking what comes afterwards, perhaps to “{intent}”. An answer that stops too early would send"
        " the writer back with the same question. I add what makes the next step easy.",
    ),
    "decision.decline": (
        "That settles it: the part that could hurt somebody is declined, briefly and with the reason. There is no need"
        " to suspect or to lecture. What goes in is how {topic} is recognised and prevented, and where to turn.",
        "So the response says no to one thing and yes to the rest. The refusal takes one sentence, since a longer one"
        " would only scold. After it come the background of {topic} and lawful ways to what may be needed.",
    ),
    "decision.help": (
        "That settles it: a full answer about {topic}, in good order. No warning is needed where there is no danger."
        " It ends with an offer to go deeper, because some details depend on the case.",
        "So the response answers what was asked and does it at once. The order is the one that a person would follow"
        " when doing it. Where {topic} leaves a choice, the choice is named rather than made for the writer.",
    ),
    "others": (
        " The same care is due under {others}.",
        " What is said under {others} holds as well.",
    ),
    "response.decline": (
        "One part of this I leave out: anything that would put “{gist}” into practice, because other people would bear"
        " the harm. What I can do is explain how {topic} is recognised, what it does to those affected, and how it is"
        " prevented. If there is a real need behind the question, tell me about it and we can look for a lawful way"
        " to meet it.",
        "This is something I decline in part, since a practical answer to “{gist}” could hurt somebody. I am glad to"
        " talk about the background of {topic}: why it happens, how it comes to light, and what protects against it."
        " Say what you are trying to sort out, and I will suggest what can be done instead.",
    ),
    "response.help": (
        "Gladly. For “{gist}”, begin with what the result has to do for you, then settle the one choice that everything"
        " else depends on, and only then the details. With {topic} most trouble comes from skipping that first step."
        " Tell me a little about your case and I can be more exact.",
        "Here is a way into {topic}. First put down what you already have; next pick the simplest version that would"
        " satisfy you; then improve it one point at a time and check each change. If you tell me where you stand, I"
        " can take “{gist}” further with you.",
    ),
}
