"""Words that say nothing about a prompt's topic, and words that make it look malicious."""

STOP_WORDS = frozenset(
    # One string, because a list of two hundred quoted words is no easier to read.
    """a about after again all also always am an and answer any anyone anything are around as ask at avoid away be
    because become been before being best better between both build but by call can cannot change come could
    create describe develop did do does doing don't down each effective else even ever every example explain few
    find first following for from generate get getting give given go going good great had has have having he
    help her here him his how i i'd i'm if in into is it it's its just keep know large let like list long look
    lot made make makes making many may me might model more most much must my need needs never new no not
    nothing now obtain of off on one only or other others our out over own part people perform person please
    policies policy possible provide put really request response right rule rules said same say see she should
    show so some somebody someone something start stop such suggest sure take teach tell than that that's the
    their them then there these they thing things think this those through time to too try turn two under until
    up us use used user users using very want was way ways we well were what what's when where which while who
    whom why will with within without work would write yes you your yours""".split()  # noqa: SIM905
)

HARM_WORDS = (
    r"kill(?:s|ed|ing)?|murder\w*|bombs?|weapons?|explosives?|poison\w*|hack(?:s|ed|ing)?|steal(?:s|ing)?|stole|theft"
    r"|scam\w*|phish\w*|launder\w*|counterfeit\w*|forg(?:e|ed|ing|ery)|blackmail\w*|stalk(?:s|ed|ing)?|harass\w*"
    r"|threaten\w*|bully\w*|racis\w*|assault\w*|tortur\w*|kidnap\w*|traffick\w*|smuggl\w*|heroin|cocaine|meth|malware"
    r"|ransomware|botnets?|ddos|illegal(?:ly)?|bribe\w*|embezzl\w*|arson|vandali\w*|manipulate|propaganda|suicide"
    r"|revenge|cheat(?:s|ed|ing)?|extort\w*|exploit(?:s|ed|ing)?|undetected|getting caught|evade|deceiv\w*|fraud\w*"
    r"|discriminat\w*|hurt(?:s|ing)?|stab(?:s|bed|bing)?|rob(?:s|bed|bing)?"
    r"|sabotag\w*|humiliat\w*|mislead\w*|conceal\w*|inferior|feel guilty|control the masses|justify\w*|spy(?:ing)?"
    r"|drugs|without (?:their|getting|regard|permission|consent|paying|being (?:seen|noticed|detected|caught))"
)
