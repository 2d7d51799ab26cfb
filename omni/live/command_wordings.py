"""How people word commands, as patterns: "(speak|talk) [a bit] (slower|more slowly)" stands for eight wordings.

    wordings()["read that to me again"]      # "repeat"

`(a|b)` is one of them, `[a|b]` one of them or nothing, and both nest. What stands here is compared word by word; the
wordings that people use most are also compared by sound (omni/live/commands.py). English.
"""

from __future__ import annotations

import itertools
import re
from functools import cache, lru_cache

# Parts of the patterns below.
_PARTS = {
    "TIME": "((a|one|just a|just one) (second|sec|minute|moment))",
    "VERY": """
        [much|way|far|even|still|a bit|a little|a little bit|a lot|slightly|somewhat|just a bit|just a little|bit]
    """,
    "TOO": "[much|way|far|a bit|a little|a little bit|still|just|really|rather|slightly] too",
    "THATS": "(that's|that is|that was|it's|it is|it was|this is|you're|you are)",
    "YOURE": "(THATS|you (speak|talk|read|go)|(you're|you are|you were) (going|speaking|talking|reading))",
    "RATHER": "[a bit|a little|a little bit|rather|quite|very|really|pretty|so]",
    "SAY": "(speak|talk|read|go|say it|say that|read it|read that|do it)",
    "AGAIN": "(again|once more|once again|one more time|a second time)",
    "LAST": "(the (last|previous) (part|bit|sentence|line|thing|word|words)|that last (part|bit|sentence))",
    "THAT": "(that|it|this)",
    "SPEED": "([the|your] [speaking|speech|reading|playback] (speed|rate|tempo|pace))",
    "VOLUME": "((the|your) (volume|sound|voice))",
    "TEXT": "(document|documents|text|file|pdf|book|paper|report)",
    "PLACE": """
        ((the|that|this|your) (page|document|file|pdf|source|passage|place|original|quote|citation|reference|spot))
    """,
    "SEE": "(see|read|look at|view|have a look at)",
    "WHICH": "((which|what) (page|page number|document|file|section|paragraph|chapter|source))",
    "FOUND": "(find|get|read|see|have|take)",
}
_PATTERNS = {
    "stop": """
        (stop|quit|pause|mute|cancel|halt) [it|that|this|there|here|now|right there|the
        (answer|playback|speech|sound)]; (stop|quit|no more) (talking|speaking|reading|playing|the
        (talking|reading)); (hold|hang) (on|up|it) [TIME]; wait [up] [TIME]; [give me|just|for] TIME; just wait; i
        said (stop|wait); shush|shh|hush|halt|cease|silence|quiet|whoa|time out|timeout|enough|freeze|no more|leave
        it|drop it|skip it; (be|keep|stay) (quiet|silent|still); [THATS] enough [of that|of this|already|for
        now|now]; (that's|that is) all [i (need|needed|wanted|wanted to know)|for now]; (don't|do not) (go
        on|continue|read on|say any more|keep going|say anything [else]); cut it out; hold that thought; let me
        (think|speak|talk|finish); (i've|i have) heard enough; (that's|that is) (fine|okay|good) [you can] stop; you
        can stop [now|there|here]
    """,
    "repeat": """
        repeat [THAT|yourself|what you [just] said|LAST|the [whole] answer|your [last]
        (answer|sentence)|everything|the whole thing|from the (beginning|start)] [for me] [again]; (say|read|tell
        me|play|go over|go through|explain) (THAT|LAST|the [whole] answer) [to me] AGAIN; (say|read|tell me|explain)
        AGAIN; hear (THAT|LAST|the answer) AGAIN; AGAIN; (can i|let me) hear (THAT|LAST|the answer) [AGAIN]; i
        (want|would like) to hear (THAT|LAST|the answer) AGAIN; run THAT by me AGAIN; (start|begin) (over|again|at
        the beginning|from the (beginning|start|top)); [all over] [again] from the (beginning|start|top); all over
        again; read THAT from the (beginning|start); go back [a (sentence|bit|little|step)|one sentence|to the
        (beginning|start)|a few seconds]; (rewind|replay) [THAT|a bit|a little|LAST|the answer]; what did you [just]
        say [there|again|just now|before that|at the end]; what were you [just] saying; what was that [again|you
        said|you just said|you were saying|last (part|bit|word|sentence|thing)]; what (is|was) that again; what's
        that again; you said what; say what; what was LAST again; i (didn't|did not|couldn't|could not)
        [quite|really] (catch|hear|get|understand|follow) [THAT|you|anything|a word|what you said|LAST|all of
        (that|it)]; i (don't|do not) understand [THAT|you]; (i missed|i've missed|i lost) (THAT|LAST|what you
        said|the (beginning|end)|some of (that|it)); (repeating|saying|reading) (THAT|LAST|the answer) [AGAIN]
    """,
    "slower": """
        VERY (slower|more slowly|less fast|less quickly|slowly); SAY VERY (slower|more slowly|slowly|less quickly|at
        (half speed|a slower (pace|speed))); say THAT AGAIN slowly; say THAT [again] [but] (slower|slowly|more
        slowly); slow [THAT|things] down [VERY]; slowing [it] down; (speaking|talking|reading|going) VERY
        (slower|more slowly); [YOURE] TOO (fast|quick|quickly); THATS RATHER (fast|quick); not (so|that)
        (fast|quick|quickly); (don't|do not) (speak|talk|read|go) (so|too|that) (fast|quickly); (don't|do not) rush;
        no rush; (reduce|lower|decrease|drop|turn down) SPEED; (lower|slower|less|half|reduced)
        (speed|pace|tempo|speech); at half speed; take (it slow|it slowly|your time); i (can't|cannot|couldn't)
        (keep up|follow [you|that]); it's hard to (keep up|follow [you|that])
    """,
    "faster": """
        VERY (faster|quicker|more quickly); SAY VERY (faster|quicker|more quickly|at double speed|at a faster pace);
        speed [THAT|things] up [VERY]; hurry [it] [up]; pick up the pace; speeding [it] up;
        (speaking|talking|reading|going) VERY (faster|more quickly); [YOURE] TOO (slow|slowly); THATS RATHER slow;
        not (so|that) (slow|slowly); (don't|do not) (speak|talk|read|go) (so|too|that) slowly; (increase|raise|turn
        up) SPEED; (higher|faster|more|double) (speed|pace|tempo|speech); at double speed; (this|it) is taking (too
        long|forever); (it's|that's) taking (too long|forever)
    """,
    "louder": """
        VERY (louder|more loudly|less quietly); (SAY|be|make it|get) VERY (louder|more loudly); (speak|talk) up;
        (speaking|talking) (up|VERY louder); (turn|crank|put) (THAT|yourself|VOLUME) up [VERY]; turning it up; (turn
        up|increase|raise) VOLUME; turn up; (more|higher|increase) volume; volume (up|higher); [YOURE] TOO
        (quiet|quietly|soft|softly|low|faint); THATS RATHER (quiet|faint); not (so|that) (quiet|quietly); [THATS]
        not loud enough; i can't hear; i (can't|cannot|can hardly|can barely|can't really) hear (you|THAT|anything|a
        word|a thing) [well|properly|very well|at all]
    """,
    "quieter": """
        VERY (quieter|softer|more quietly|more softly|less loud|less loudly); (SAY|be|make it) VERY
        (quieter|softer|more quietly|more softly|less loudly); turning it down; (turn|bring|put)
        (THAT|yourself|VOLUME) down [VERY]; (turn down|lower|reduce|decrease) VOLUME; turn down;
        (less|lower|decrease) volume; volume (down|lower); keep (it|your voice) down; [YOURE] TOO (loud|loudly);
        THATS RATHER loud; not (so|that) (loud|loudly); (you're|you are) (shouting|yelling|screaming) [at me];
        (don't|do not|stop|quit|no need to) (shout|shouting|yell|yelling) [at me]
    """,
    "go_on": """
        (go|carry|read|play|move) on [reading|speaking|talking|then|from there|with (it|that|the answer)];
        (continue|resume|proceed) [reading|speaking|talking|playing|then|from there|the answer|with (it|that|the
        answer)]; (continue|resume|start again|pick up|go on) [from] where you (left off|stopped|were); go ahead
        [then]; keep [on] (going|reading|talking|speaking); keep it going; (finish|complete) [it|that];
        (finish|complete) (your|the) (sentence|answer); finish (what you were saying|reading [it|that]);
        unpause|play|more|what else|anything else|is there more [to it]|and then|i'm listening|i am listening; back
        to (it|the answer|where (you|we) were); (don't|do not) stop; where were we; next [sentence|part|bit];
        (going|carrying|reading) on
    """,
    "open_page": """
        (open|display|view|highlight|open up|pull up|bring up|show|show me|show us) (THAT|PLACE);
        (highlight|show|show me) THAT [in the TEXT|on the (page|screen)|on my screen]; (open|show) page;
        (bring|pull|open|put) (THAT|PLACE) up; put (THAT|PLACE) on (the|my) screen; show (me|us) [in the TEXT|on the
        page|that (part|bit|section|text)|the (text|section|part)]; show THAT to me; (show me|i want to see|let me
        see) where [THAT is|it says (THAT|so)|you (found|got|read|saw) THAT|THAT (comes from|stands|was|is
        written)|that's from]; show me the (page|place|passage) where it says (that|so);
        (go|jump|scroll|turn|navigate) to (THAT|PLACE); take me (there|to (THAT|PLACE)); (let me|can i|could i|may
        i|i want to|i'd like to|i would like to) SEE (THAT|PLACE); let me (see|look|have a look); point (THAT out|to
        it); (opening|showing me) (THAT|PLACE)
    """,
    "where": """
        where [exactly] is THAT [exactly]; where [exactly] was (that|this) [exactly]; where's (that|this)
        [exactly|from|written|stated]; where [exactly] (is|was) (that|this)
        (from|written|stated|said|mentioned|coming from|taken from); where is it (written|stated|said|mentioned);
        where (is|was) (that|this|it) (in|on) the (TEXT|page); where [exactly] does (it|that|this|the TEXT) say
        (THAT|so) [exactly|in the TEXT]; where [exactly] (did|do) you FOUND THAT [from]; where have you
        (found|got|read|seen) THAT [from]; where (does|did) (that|this) (come from|stand|appear); where in
        (the|my|this|that|which) TEXT [(is|was) THAT]; where in the TEXT does it say (THAT|so); where can i
        (find|read|see) that; where exactly; whereabouts [is THAT]; [from|in|on] WHICH; [from|in|on] WHICH (is|was)
        THAT [on|in|from]; WHICH (did|do) you FOUND THAT (from|in|on); [on|in] WHICH does it say (THAT|so) [on|in];
        WHICH (says (that|so)|does (that|this) come from); (what's|what is|what was|give me|tell me|do you know|do
        you have|say) the page [number] [of that|for that]; [the] page number; (what's|what is|what are|give me|tell
        me|name|cite|state) (the|your) (source|sources|reference|references|citation) [for (that|this)|of
        (that|this)]; source|sources|your source|cite it; (tell me|do you know) [exactly] where (THAT is|it says
        (THAT|so)|that's from|you (found|got|read|saw) THAT|that (comes from|is from|stands|is written|was)); (tell
        me|do you know) [on|in|from] WHICH [(that|it) is [on|in|from]|(that's|it's) [on|in|from]]; says who|who says
        (that|so|this)|how do you know [that|this]
    """,
}


@lru_cache(maxsize=1)
def wordings() -> dict[str, str]:
    """Every wording, in lower case and single-spaced, and the name of its command; the first that lists it has it."""
    found: dict[str, str] = {}
    for name, patterns in _PATTERNS.items():
        for pattern in patterns.split(";"):
            for text in expand(pattern):
                found.setdefault(text, name)
    return found


def expand(pattern: str) -> list[str]:
    """All texts that a pattern stands for."""
    tokens = re.findall(r"[()\[\]|]|[^\s()\[\]|]+", pattern)
    texts, rest = _either(tokens)
    assert not rest, f"a bracket is missing in {pattern!r}"
    return [text for text in dict.fromkeys(texts) if text]


def _either(tokens: list[str]) -> tuple[list[str], list[str]]:
    """Alternatives up to a closing bracket or the end, and the tokens from there on."""
    texts: list[str] = []
    while True:
        found, tokens = _sequence(tokens)
        texts += found
        if not tokens or tokens[0] != "|":
            return texts, tokens
        tokens = tokens[1:]


def _sequence(tokens: list[str]) -> tuple[list[str], list[str]]:
    parts: list[list[str]] = []
    while tokens and tokens[0] not in "|)]":
        token, tokens = tokens[0], tokens[1:]
        if token in "([":
            texts, tokens = _either(tokens)
            assert tokens and tokens[0] == {"(": ")", "[": "]"}[token]
            tokens = tokens[1:]
            parts.append(["", *texts] if token == "[" else texts)
        elif token in _PARTS:
            parts.append(_expanded_part(token))
        else:
            parts.append([token])
    return [" ".join(filter(None, words)) for words in itertools.product(*parts)], tokens


@cache
def _expanded_part(name: str) -> list[str]:
    texts, rest = _either(re.findall(r"[()\[\]|]|[^\s()\[\]|]+", _PARTS[name]))
    assert not rest
    return texts
