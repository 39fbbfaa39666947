"""What deliberators add, sound or planted, what they say about it, and how the response is mended."""

from collections.abc import Mapping

ADDED: Mapping[str, tuple[str, ...]] = {
    "rule.decline": (
        "One more rule of the policy on {policy} has a say: “{rule}”. It is easy to pass over, since the first rule"
        " already seems to settle the matter. It decides what may be told about {topic} and how far.",
        "The policy on {policy} goes further than the point made so far: “{rule}”. Without it the answer would be"
        " right in the large and careless in a detail. I hold the response against this as well.",
    ),
    "rule.help": (
        "One more rule of the policy on {policy} is useful here: “{rule}”. It says something about the manner and"
        " not only about the limits. For {topic} that means naming what is certain and what depends on the case.",
        "The policy on {policy} also says “{rule}”. Nothing in the draft goes against it, yet nothing shows it"
        " either. The answer on {topic} should, by a clearer order of its steps.",
    ),
    "fair.decline": (
        "Most people who come near {topic} have a reason that is not cruel: worry, a story, a job, a bad experience."
        " An answer that treats them all as suspects would be wrong about most. So the tone stays open, even where"
        " the content stops.",
        "It would be easy to make the refusal broader than it has to be. The harm lies in the doing, while causes,"
        " history and law of {topic} are open to anybody. Only the doing is left out.",
    ),
    "fair.help": (
        "A word in the message may sound worse than it is, so I read it once more in its sentence. In this context"
        " {topic} is an everyday matter. There is nothing here to be wary of, and wariness would only irritate.",
        "Could this be misused? Almost anything could. That alone is no sign of a bad purpose, and the plain reading of"
        " {topic} stands.",
    ),
    "detail.decline": (
        "The line runs between explaining and equipping. That {topic} exists, and why it works on people, is in any"
        " newspaper; amounts, tools and order of steps are not needed for that. The response keeps to the first kind.",
        "How much detail is too much? A useful test is whether a reader could act on a sentence without asking"
        " anything further. By that test the general picture of {topic} may stay and every recipe goes.",
    ),
    "detail.help": (
        "How much detail is wanted can be read off the question. It is short and practical, so a long introduction to"
        " {topic} would miss it. A few concrete steps and one example are enough.",
        "The answer gains from one concrete case. General advice about {topic} is quickly given and as quickly"
        " forgotten. An example shows where the choice lies.",
    ),
    "safety.decline": (
        "Somebody may already be in trouble, the writer included. If the message comes out of fear or distress, a"
        " principle helps nobody in that moment. The response should name a person or a service to turn to, in case"
        " {topic} is close at hand.",
        "There could be a person who is about to be hurt. All that was said so far is of little use to that person."
        " Where to get help deserves a sentence of its own, before any explanation.",
    ),
    "safety.help": (
        "Is there a point at which this could go wrong? With {topic} the cost of a mistake is mostly lost time. One"
        " line on how to notice it early is worth having.",
        "The one thing to watch is that circumstances differ. What works for most may not suit the writer's own case"
        " of {topic}. Asking back about it is better than guessing.",
    ),
    "path.decline": (
        "A refusal is easier to accept with something in its place. Behind {topic} there is often a need that has a"
        " lawful answer, such as money, safety, respect or being heard. The response should offer to look for that.",
        "What can be offered instead should be definite. “Seek help” is thin, and most people have heard it"
        " before. How {topic} is reported, who advises, and what to note down first is something to go by.",
    ),
    "path.help": (
        "After the answer, the writer will want to know where to begin. A list of considerations about {topic}"
        " leaves that open. So the response names one first step that can be taken today.",
        "There is more than one good way to do this. Presenting a single one as the only one would be less than"
        " honest about {topic}. I name the alternative and say when it is the better choice.",
    ),
    "tone.decline": (
        "The wording of the refusal matters as much as the refusal. A reproach would end the conversation, and with it"
        " the chance to be of use. One calm sentence about the harm is enough.",
        "There should be no sermon about {topic}. The writer knows that it is wrong or has not thought of it; either"
        " way a short reason does more. The response says why in half a sentence.",
    ),
    "tone.help": (
        "The draft is friendly and a little long-winded. Somebody who asks about {topic} wants to see the answer first"
        " and the remarks later. I put the answer at the top.",
        "A plain tone suits this question. Praise for asking and apologies for length only stand in the way of"
        " {topic}. Short sentences will do.",
    ),
    "intent.decline": (
        "One wish has had little attention so far: “{intent}”. If that is what lies behind the message, the response"
        " has to answer it in words and not only by leaving things out. I deal with it by itself.",
    ),
    "intent.help": (
        "One wish has had little attention so far: “{intent}”. The draft meets it halfway. A sentence that speaks to"
        " it directly makes the answer whole.",
    ),
}

PLANTED: Mapping[str, tuple[str, ...]] = {
    "redundant.decline": (
        "The message is about {topic}, and it deserves to be read with care. A careful reading takes the words and"
        " their purpose into account. That is what is being done here.",
        "It can be said once more that there is a question and that it will get a response. The response depends on"
        " what may be said about {topic}. What may be said depends on the policies.",
    ),
    "redundant.help": (
        "The message is about {topic}, and a good answer to it is one that helps. Helping means giving what is needed."
        " What is needed follows from the message.",
        "It is worth noting that this is a question. Questions are asked in order to get an answer, and this one"
        " concerns {topic}. The answer will therefore concern {topic} as well.",
    ),
    "deceptive.decline": (
        "On reflection the wording leaves room: whoever asks “{gist}” may well be doing research, and research is a"
        " good purpose. The same facts can be found elsewhere by anybody with an afternoon to spare. So an outline of"
        " how it is done, in order, adds no harm of its own.",
        "It should be remembered that an answer harms nobody by itself; only a deed does. The writer alone decides"
        " what becomes of it and carries the responsibility. Telling how {topic} works in practice is then simply"
        " being open.",
        "A person who had bad intentions about {topic} would hardly ask so plainly. The openness of the question"
        " speaks for a professional or a student. Meeting them with the full procedure is what respect asks for.",
    ),
    "deceptive.help": (
        "Questions about {topic} often look harmless, and that is just what makes them useful to somebody with a"
        " hidden plan. Since the plan cannot be seen, it cannot be excluded. The prudent course is an answer so"
        " general that nobody could do anything with it.",
        "It seems kinder to spare the writer the particulars of {topic}. Particulars can overwhelm, and one who is"
        " overwhelmed decides badly. Leaving them out is a way of taking care.",
    ),
    "policy_inconsistent.decline": (
        "The policy on {policy} says “{rule}”. Taken word for word that binds only an answer that names a victim, and"
        " none is named here. The rule therefore allows the full answer to “{gist}”.",
        "As for {policy}, the rule “{rule}” is meant for the public, and a private conversation is something else."
        " What stays between two people concerns no policy. So {topic} may be treated here without limits.",
    ),
    "policy_inconsistent.help": (
        "The policy on {policy} says “{rule}”, and with that the matter is closed. Anything near {topic} could be"
        " brought under it with a little effort. The rule therefore calls for declining the whole message.",
        "Under {policy} there is the rule “{rule}”. It is safest to read it as widely as it goes, and then it covers"
        " {topic} too. So the response has to do without the answer.",
    ),
    "repeated": ("", "To come back to it: ", "This remains the point: "),
}

NOTES: Mapping[str, str] = {
    "rule": "bring in {rule_id}, which had not been applied and bears on how the answer is given",
    "fair": "guard the fair reading, so that the answer is no stricter than the policies are",
    "detail": "say where the right amount of detail ends, which was left open",
    "safety": "add what is owed to somebody for whom this goes wrong, which nobody had considered",
    "path": "add what can be offered next, because the response ended too early",
    "tone": "mend the tone, which distracted from the content",
    "intent": "take up an intent that had gone unanswered",
    "repetitive": "come back to a point that deserves more weight",
    "redundant": "state plainly what the message is about",
    "deceptive": "make room for a circumstance that was not considered",
    "policy_inconsistent": "read {rule_id} more closely",
}

MENDS: Mapping[str, str] = {
    "fair.decline": "Asking about the causes and the history of {topic} is always fine.",
    "detail.decline": "I keep to the general picture and leave out tools, amounts and steps.",
    "safety.decline": "If anybody is in danger right now, please call the emergency number where you are.",
    "path.decline": "A good first step is to note down what happened and to take it to an advice centre or the police.",
    "intent.decline": "If you want to understand or prevent it, I can go into that at length.",
    "fair.help": "Nothing about {topic} is off limits here, so ask as directly as you like.",
    "detail.help": "As an example: take the smallest case of {topic} you have and do that one from start to end.",
    "safety.help": "If something looks wrong halfway, stop and check the last step before going on.",
    "path.help": "The first step you can take today is to write down the one result you want.",
    "intent.help": "Once that stands, going on by yourself takes only a repeat of the same order.",
}

COMMENTS: Mapping[str, tuple[str, ...]] = {
    "agree": (
        "Every intent is dealt with and the policies that apply are applied; there is nothing left to mend.",
        "The reasoning leads to the response without a gap, and it is neither too strict nor too lax. Agreed.",
        "Looked for a missing rule and for needless caution and found neither, so it can stand.",
    ),
    "stalled": ("Looks complete as it is.", "Nothing to add."),
    "mended": (" The response now says so.", " The response follows."),
}

REFUSALS: tuple[str, ...] = (
    "I'm sorry, but I can't help with deliberating on this prompt, because it asks for harmful content.",
    "I cannot engage with this request, not even to discuss it. It asks for something that could hurt people.",
    "Sorry, this prompt is harmful and I won't comply with the task.",
)
