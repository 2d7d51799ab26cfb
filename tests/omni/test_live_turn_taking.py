"""When a turn begins and ends, what is a command, and what is no interruption: the rules, without sound."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from omni.live.backchannel import is_backchannel
from omni.live.barge_in import Interruption, Verdict, judge
from omni.live.command_wordings import expand, wordings
from omni.live.commands import dictionary, phone_distance, phrases, recognise
from omni.live.completeness import Finish, finished
from omni.live.turn_ends import Ending, ending
from omni.live.turn_taking import Signal, TurnTaker, TurnTaking, Words, words_in
from omni.moonshine import MoonshineRecogniser
from omni.moonshine_search import Beam
from omni.types import Hypothesis, Transcript
from omni.vad import FRAME_S


def frames(seconds: float) -> int:
    return round(seconds / FRAME_S)


def run(text: str, *, speech_s: float = 2.0, silence_s: float = 2.0, taker: TurnTaker | None = None) -> list[Signal]:
    """Speech, then silence, in which the words are known 100 ms after the pause."""
    taker = taker or TurnTaker()
    signals: list[Signal] = []
    words, due = Words(), -1
    for frame in range(frames(speech_s + silence_s)):
        if frame == due:
            words = Words(text, frame)
        step = taker.step(0.9 if frame < frames(speech_s) else 0.05, words)
        signals += step
        due = next((frame + 3 for signal in step if signal.kind == "pause"), due)
    return signals


@pytest.mark.parametrize(
    ("text", "waited_ms", "reason"),
    [
        ("how long is the notice period", 320, "complete"),
        ("how long is the", 1100, "unfinished"),
        ("I would like to know whether", 1100, "unfinished"),
        ("the notice period of the lease", 448, "silence"),
        ("", 500, "silence"),
    ],
)
def test_the_words_decide_how_much_silence_ends_a_turn(text: str, waited_ms: float, reason: str) -> None:
    end = run(text)[-1]
    assert (end.kind, end.reason) == ("end", reason)
    assert end.waited_ms == pytest.approx(waited_ms, abs=33)


def test_words_that_do_not_reach_up_to_the_silence_decide_nothing() -> None:
    """A recogniser that lags may have heard "how long is the" of "how long is the notice period"."""
    taker = TurnTaker()
    stale = Words("how long is the", 30)
    signals = [s for f in range(frames(4)) for s in taker.step(0.9 if f < frames(2) else 0.05, stale)]
    assert signals[-1].reason == "silence" and signals[-1].waited_ms == pytest.approx(500, abs=33)


def test_signals_come_in_order_and_early() -> None:
    kinds = [(signal.kind, round(signal.now * FRAME_S * 1000)) for signal in run("")]
    assert [kind for kind, _ in kinds] == ["onset", "begin", "pause", "end"]
    assert kinds[0][1] == 64 and kinds[1][1] == 96


def test_a_burst_is_taken_back_and_a_click_never_told() -> None:
    taker = TurnTaker()
    burst = [s.kind for p in [0.9, 0.9, 0.1, 0.1] for s in taker.step(p)]
    click = [s.kind for p in [0.9, 0.1, 0.1] for s in taker.step(p)]
    assert burst == ["onset", "false_onset"] and click == []


def test_speech_after_a_pause_goes_on_with_the_turn() -> None:
    taker = TurnTaker()
    speech = [0.9] * 20 + [0.05] * 8 + [0.9] * 20 + [0.05] * 40
    kinds = [signal.kind for probability in speech for signal in taker.step(probability)]
    assert kinds == ["onset", "begin", "pause", "resume", "pause", "end"]


def test_a_turn_that_never_ends_is_ended() -> None:
    taker = TurnTaker(TurnTaking(limit_s=3.0))
    ends = [s for _ in range(frames(3.5)) for s in taker.step(0.9) if s.kind == "end"]
    assert [end.reason for end in ends] == ["limit"]


@pytest.mark.parametrize(
    ("text", "finish"),
    [
        ("who is it by", Finish.UNKNOWN),
        ("what is it made of", Finish.UNKNOWN),
        ("tell me about the", Finish.OPEN),
        ("could you explain how the pump works", Finish.COMPLETE),
        ("okay so what does the policy cover", Finish.COMPLETE),
        ("yes", Finish.UNKNOWN),
        ("What is the rent and", Finish.OPEN),
        ("the tenant is", Finish.OPEN),
        ("How often should they?", Finish.OPEN),
        ("How long is the, um.", Finish.OPEN),
        ("The rent of the garden,", Finish.OPEN),
        ("What about the garden...", Finish.OPEN),
        ("Do you take her in?", Finish.UNKNOWN),
        ("How was I to do it?", Finish.UNKNOWN),
        ("Heavy rain.", Finish.UNKNOWN),
        ("What your country can do for you?", Finish.UNKNOWN),
        ("And was in fact the kind of letter?", Finish.UNKNOWN),
        ("And how was the letter printed?", Finish.COMPLETE),
        ("In how many countries can people watch Netflix?", Finish.COMPLETE),
    ],
)
def test_only_plain_signs_of_an_end_count(text: str, finish: Finish) -> None:
    assert finished(text) is finish


def judged(*readings: tuple[str, float], closed: float | None = None) -> Ending:
    end = ending(readings, closed)
    assert end is not None
    return end


def test_what_may_have_been_said_counts_as_likely_as_it_is() -> None:
    """ "the" alone is easily heard as another word, but not in every reading."""
    settings = TurnTaking()
    sure, doubted = judged(("How much is it?", 1.0)), judged(("How much is it?", 0.7), ("How much is the?", 0.3))
    assert sure.light and not doubted.light
    assert settings.patience_ms(sure) == settings.silence_ms < 800 < settings.patience_ms(doubted)
    assert ending([]) is None and settings.patience_ms(None) == settings.silence_ms


def test_a_silence_that_was_chosen_holds_whatever_is_understood() -> None:
    settings = TurnTaking(complete_ms=5000, silence_ms=5000, unfinished_ms=5000)
    for text in ("How long is the notice period?", "How long is the", "When was that?", "the lease"):
        assert settings.patience_ms(judged((text, 1.0))) == 5000


def test_readings_that_disagree_about_the_last_word_are_waited_for() -> None:
    agreed = judged(("Who wrote the first report?", 1.0))
    unsure = judged(
        ("Who wrote the first report?", 0.4), ("Who wrote the first reef?", 0.3), ("Who wrote the first?", 0.3)
    )
    assert agreed.log_odds > unsure.log_odds + 0.5


def test_marks_that_a_recogniser_hesitates_to_set_are_waited_for() -> None:
    said = "Now as all books not primarily intended as picture books."
    assert judged((said, 1.0), closed=0.95).finish is not Finish.OPEN
    assert judged((said, 1.0), closed=0.01).finish is Finish.OPEN
    whole = "How long is the notice period?"
    assert judged((whole, 1.0)).finish is judged((whole, 1.0), closed=0.99).finish is Finish.COMPLETE
    assert judged((whole, 1.0), closed=0.05).finish is not Finish.COMPLETE


@pytest.mark.parametrize(
    "text", ["Do they really have to say that?", "When was that?", "Who is it by?", "What is it made of?", "Yes."]
)
def test_what_ends_lightly_is_waited_for_no_longer_than_anything(text: str) -> None:
    assert TurnTaking().patience_ms(judged((text, 1.0))) <= TurnTaking().silence_ms


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("What was the revenue in fiscal 20?", "What was the revenue in fiscal 2022?"),
        ("What is the notice period in?", "What is the notice period in this lease?"),  # a mark is set after anything
        ("What is the difference between", "What is the difference between the two methods?"),
        ("How does the warranty of", "How does the warranty of the pump work?"),
        ("What are the rules for the garden, the school and", "What are the rules for the garden and the school?"),
        ("Where did you, uh", "Where did you read about the pipeline?"),
        ("What does it say about our", "What does it say about our landlord?"),
    ],
)
def test_more_silence_is_waited_out_where_something_is_missing(broken: str, whole: str) -> None:
    settings = TurnTaking()
    assert settings.patience_ms(judged((broken, 1.0))) >= 1000
    assert settings.patience_ms(judged((whole, 1.0), closed=0.95)) <= 420


def test_the_recognisers_marks_are_those_of_all_its_beams() -> None:
    written = {(1,): "The rent.", (2,): "The rent,", (3,): "The rent..."}
    recogniser = object.__new__(MoonshineRecogniser)  # without its weights
    recogniser.model = SimpleNamespace(text=written.__getitem__)  # type: ignore[assignment]
    beams = [Beam(tokens, sound=math.log(share)) for tokens, share in zip(written, (0.5, 0.3, 0.2), strict=True)]
    assert recogniser._closed(beams) == pytest.approx(0.5)
    assert recogniser._closed(beams[1:]) == 0.0


def test_words_of_a_transcript_carry_its_readings() -> None:
    heard = Transcript("How much is it?", (), 1.0, hypotheses=(Hypothesis("How much is the?", -0.1),), closed=0.5)
    words = words_in(heard, 40)
    assert (words.text, words.heard_to, words.closed) == ("How much is it?", 40, 0.5)
    assert words.ending is not None and words.ending.finish is Finish.OPEN  # as most of its readings are
    command = words_in(heard, 40, complete=True)
    assert TurnTaking().patience_ms(command.ending) == TurnTaking().complete_ms


def test_whole_questions_are_seldom_taken_for_unfinished(shared_data: Path) -> None:
    """5,000 questions that people wrote: hardly any of them would be waited for, most are answered early."""
    articles = json.loads((shared_data / "squad" / "dev-half-v1.1.json").read_text())["data"]
    asked = [qa["question"] for a in articles for p in a["paragraphs"] for qa in p["qas"]]
    waits = sorted(TurnTaking().patience_ms(ending([(question, 1.0)], 0.95)) for question in asked)
    assert waits[int(0.6 * len(waits))] == TurnTaking().complete_ms
    assert waits[int(0.9 * len(waits))] <= TurnTaking().silence_ms


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("stop", "stop"),
        ("Stop please.", "stop"),
        ("okay stop stop", "stop"),
        ("could you repeat that please", "repeat"),
        ("Slower.", "slower"),
        ("speed up", "faster"),
        ("Go on.", "go_on"),
        ("Where is that?", "where"),
        ("what page is that on", "where"),
        ("show me the page", "open_page"),
        ("open the pitch", "open_page"),  # misheard, but it sounds so
        ("repeat debt", "repeat"),
        ("Hold on a second.", "stop"),
        ("Sorry, what was that again?", "repeat"),
        ("A bit slower please.", "slower"),
        ("Can you slow down a little bit?", "slower"),
        ("Speak up.", "louder"),  # which sounds like "speed up"
        ("I can't hear you.", "louder"),
        ("Could you turn it down a bit?", "quieter"),
        ("Yes, please carry on.", "go_on"),
        ("Where does it say so?", "where"),
        ("Which pages that?", "where"),
        ("Can you show me where it says that?", "open_page"),
    ],
)
def test_commands_are_known_by_word_or_by_sound(said: str, command: str) -> None:
    found = recognise([said], pronounce=dictionary())
    assert found is not None and found.name == command


SAID = {
    "stop": """
        hey stop; wait wait; hang on; hold on a minute; could you please stop; okay that's enough thank you; no
        wait; just a sec, wait; be quiet please; pause it; whoa whoa stop; stop the answer
    """,
    "repeat": """
        say that again please; what did you say; sorry, what was that?; could you please repeat that; read that to
        me again; tell me again; i missed that last part; would you mind repeating that; start over; go back a
        sentence; wait, what did you say?; can you go over that again; sorry, i couldn't hear that
    """,
    "slower": """
        a bit slower please; too fast; you're going too fast; could you go a little slower; way too fast; reduce the
        speed; i can't keep up; please speak a little more slowly; that's a bit fast; hey, slow down; sorry, slower
        please
    """,
    "faster": """
        could you talk a little faster please; you're reading too slowly; that's much too slow; pick up the pace
    """,
    "louder": """
        could you be a bit louder; it's not loud enough; please turn the volume up a bit; sorry i can hardly hear
        you
    """,
    "quieter": """
        you are speaking too loudly; keep your voice down please; that's a bit loud; can you turn it down a bit
    """,
    "go_on": """
        keep on going; don't stop; continue where you left off; never mind, go on; finish your sentence; okay, more
    """,
    "open_page": """
        can i see the source; show me that in the document; could you open up the page please; show me; highlight
        it; i'd like to see that; pull it up please; would you show me the citation; put it on the screen
    """,
    "where": """
        where does it say that; which document did you get that from; what's the page number; where is that from;
        tell me where it says that; what section is that in; from which page; can you tell me which page that's on;
        where in the document is that; what are your sources; where did you read that; says who
    """,
}


@pytest.mark.parametrize("command", SAID)
def test_commands_are_known_in_the_words_that_people_use(command: str) -> None:
    said = [" ".join(text.split()) for text in SAID[command].split(";")]
    found = {text: recognise([text], pronounce=dictionary()) for text in said}
    assert {text: each and each.name for text, each in found.items() if not each or each.name != command} == {}


def test_patterns_of_wordings_stand_for_all_their_texts() -> None:
    assert expand("(a|b c) [d] e") == ["a e", "a d e", "b c e", "b c d e"]
    assert expand("stop [(it|that) [now]]") == ["stop", "stop it", "stop it now", "stop that", "stop that now"]
    assert all(re.fullmatch(r"[a-z']+( [a-z']+)*", text) for text in wordings())


def test_a_command_that_questions_begin_with_is_waited_for_like_any_words() -> None:
    """ "show me" may be "show me the rent"; "stop" is all there is to it."""
    waited = {
        said: TurnTaking().patience_ms(Words(said, 9, complete=True, begins=command.may_begin).ending)
        for said in ("stop", "slower", "show me", "where is that", "sorry")
        if (command := recognise([said])) is not None
    }
    quick, usual = TurnTaking().complete_ms, TurnTaking().silence_ms
    assert [round(each, -1) for each in waited.values()] == [quick, quick, usual, usual, usual]


@pytest.mark.parametrize(
    "said",
    [
        "how do i stop the pump", "when does it stop", "where is the rent", "what is the source of the river",
        "carry on luggage", "where is that clause", "who may continue the lease", "is it faster", "", "the pages",
        "what happens next", "go on holiday", "what did he say", "what does it say about stopping", "can you",
        "show me the pages about rent", "who can i call if it is too loud", "which page is about the rent",
        "just a bit", "wait times", "can i cancel it", "where is it written that i must pay",
        "more about the deposit", "Next year?", "Where is the stop button?", "How slow is it?",
        "What does it go on to say?",
        "Can I stop payment?", "show me why", "on which page is the rent", "open the valve", "where was it built",
        "tell me the rent", "tell me when to stop", "can I cancel the contract", "is it too loud",
        "what was that company",
        "how do I turn it down", "where can i find the serial number", "who said that", "let me know",
        "what comes next",
    ],
)  # fmt: skip
def test_questions_with_such_words_are_no_commands(said: str) -> None:
    assert recognise([said], pronounce=dictionary()) is None


def test_no_written_question_is_a_command(shared_data: Path) -> None:
    articles = json.loads((shared_data / "squad" / "dev-half-v1.1.json").read_text())["data"]
    asked = [qa["question"] for a in articles for p in a["paragraphs"] for qa in p["qas"]]
    pronounce = dictionary()
    assert [question for question in asked if recognise([question], pronounce=pronounce)] == []


def test_what_only_says_that_somebody_listens_is_no_command_however_it_may_sound() -> None:
    for said in ("Good.", "Right.", "Okay, I see.", "Mhm.", "Thank you.", "Yeah, that makes sense."):
        assert recognise([said, "Again.", "Stop."], speech_s=0.4, pronounce=dictionary()) is None and is_backchannel(
            said
        )


def test_what_takes_long_to_say_is_no_command() -> None:
    assert recognise(["stop"], speech_s=0.5) and recognise(["stop"], speech_s=6.0) is None


def test_phone_distance_is_a_distance() -> None:
    words = [tuple(dictionary()(word)) for word in ("slower", "lower", "page", "pitch", "stop")]
    for a in words:
        assert phone_distance(a, a) == 0
        for b in words:
            assert phone_distance(a, b) == phone_distance(b, a)
    assert phone_distance(words[0], words[1]) < phone_distance(words[0], words[4])
    assert len(phrases()) > 150


@pytest.mark.parametrize(
    ("heard", "verdict"),
    [
        (Interruption(0.2, ()), Verdict.WAIT),
        (Interruption(0.4, ("okay",), ended=True), Verdict.RESUME),
        (Interruption(0.35, ("him",), ended=True), Verdict.RESUME),  # "mhm", as recognisers write it
        (Interruption(0.3, (), ended=True), Verdict.RESUME),
        (Interruption(0.7, ("what about the deposit",)), Verdict.CANCEL),
        (Interruption(0.7, ("show me",)), Verdict.WAIT),  # perhaps "show me the page"
        (Interruption(1.6, ()), Verdict.CANCEL),
        (Interruption(0.6, ("the deposit",), ended=True), Verdict.CANCEL),
        (Interruption(1.0, ("rent is due on",), being_said="Rent is due on the first."), Verdict.WAIT),
        (Interruption(1.0, ("rent is due on",), True, "Rent is due on the first."), Verdict.RESUME),
    ],
)
def test_what_interrupts_and_what_does_not(heard: Interruption, verdict: Verdict) -> None:
    assert judge(heard).verdict is verdict


def test_backchannels_are_short_and_say_nothing() -> None:
    assert all(
        is_backchannel(text)
        for text in ("Okay.", "mhm", "Mm-hmm.", "Mmm.", "Uh-huh.", "uh huh", "Right, right", "I see.", "yeah okay")
    )
    assert not any(
        is_backchannel(text) for text in ("", "no wait", "okay what about rent", "right of way", "i see a page")
    )
