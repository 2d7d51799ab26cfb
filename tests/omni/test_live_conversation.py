"""A live conversation as its client sees it: asked, interrupted, told to stop, corrected, cut off and resumed."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from live_scene import FRAME, SAMPLES_A_WORD, InlineWork, Scene, ScriptedRecogniser

from omni.live import outbox
from omni.live.hearing import Heard, Hearing
from omni.live.mailbox import Mailbox
from omni.live.readings import common, joined, searched, steady
from omni.live.work import Priority, Ticket, Work
from omni.types import Correction, Transcript

NOTICE = "how long is the notice period"
ANSWER = ["The notice period is three months.", "It begins on the first day of a month."]


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.answerer.answers[NOTICE] = ANSWER
    return scene


def test_a_question_is_heard_answered_and_spoken(scene: Scene) -> None:
    scene.say(NOTICE)
    scene.until(lambda: bool(scene.all("heard")))
    order = scene.kinds("hearing", "end_of_turn", "transcript", "text", "speech", "answer", "speech_end", "heard")
    assert order[:3] == ["hearing", "end_of_turn", "transcript"]
    assert order.index("speech") < order.index("speech_end") < order.index("heard")
    assert scene.one("transcript")["text"] == NOTICE
    assert "".join(event["text"] for event in scene.all("text")) == scene.one("answer")["answer"]["answer"]
    assert [event["citations"] for event in scene.all("sentence")] == [[1], [2]]
    assert scene.one("heard")["complete"] and scene.answerer.kept[NOTICE] is None
    assert [event["n"] for event in scene.events] == list(range(2, len(scene.events) + 2))  # 1: listening


def test_partials_grow_and_what_is_stable_is_told(scene: Scene) -> None:
    scene.say(NOTICE)
    partials = [event["text"] for event in scene.all("partial")]
    assert len(partials) >= 4 and all(NOTICE.startswith(text) for text in partials)
    for event in scene.all("partial"):
        assert NOTICE.startswith(event["text"][: event["stable"]])


def test_the_word_that_is_being_spoken_is_not_shown_until_it_stays() -> None:
    assert steady("how many gas", "how many gas stationa") == "how many gas"
    assert steady("How many gas,", "how many gas") == "how many gas"  # marks and case come and go
    assert steady("", "how") == ""
    assert "how many gas"[: common("how many cars", "how many gas")] == "how many"


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [
        ("How long is the...", "The notice period?", "How long is the notice period?"),
        ("What about the garden,", "In the second lease?", "What about the garden in the second lease?"),
        ("Who founded", "Netflix?", "Who founded Netflix?"),
        ("What should", "I do?", "What should I do?"),
    ],
)
def test_two_turns_that_are_one_read_as_one(first: str, second: str, whole: str) -> None:
    assert joined(first, second) == whole


def test_what_is_searched_for_beside_what_was_heard_is_told() -> None:
    said = "how is the quill on cleaned"
    beside = Correction("quill on", "Quillon", 11, 19, 0.6)
    unlikely = Correction("cleaned", "creased", 20, 27, 0.001)
    transcript = Transcript(said, (), 1.0, corrections=(beside, unlikely))
    assert searched(transcript) == [{"heard": "quill on", "term": "Quillon", "instead": False}]
    instead = Transcript("how is the Quillon", (), 1.0, corrections=(replace(beside, end=18, applied=True),))
    assert searched(instead) == [{"heard": "quill on", "term": "Quillon", "instead": True}]


def test_what_is_looked_up_while_somebody_speaks_is_kept_if_they_stop_there(scene: Scene) -> None:
    question = "how much notice must the tenant give before leaving"
    scene.say(question)
    assert scene.answerer.looked and all(question.startswith(asked) for asked in scene.answerer.looked)
    assert not scene.answerer.asked
    scene.ask("")
    scene.silence(8)
    assert scene.one("latency")["speculation"] == "kept" and question in scene.answerer.looked


def test_the_record_of_a_turn_has_its_steps_in_order(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.control(type="first_played", speech=1, turn=1, after_speech_end_ms=600.0, after_decision_ms=250.0)
    record = scene.one("latency")
    steps = record["after_speech_end_ms"]
    assert list(steps) == sorted(steps, key=steps.__getitem__) or record["speculation"] == "kept"
    assert steps["decided"] == pytest.approx(320, abs=64)  # a complete question needs no longer
    assert steps["played"] == 600.0 and record["after_decision_ms"]["played"] == pytest.approx(600 - steps["decided"])


def test_an_interruption_ducks_holds_and_cancels_and_the_history_keeps_what_was_heard(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.until(lambda: scene.position > 4.5 * SAMPLES_A_WORD)  # "The notice period is"
    began = scene.now
    scene.say("wait what about the deposit")
    kinds = scene.kinds("duck", "hold", "cancel", "resume")
    assert kinds == ["duck", "hold", "cancel"]
    assert scene.one("cancel")["reason"] == "barge_in"
    kept = scene.answerer.kept[NOTICE]
    assert kept and ANSWER[0].startswith(kept) and kept.split()[:3] == ["The", "notice", "period"]
    assert scene.one("heard") == {**scene.one("heard"), "text": kept, "complete": False}
    scene.until(lambda: bool(scene.all("transcript", turn=2)))
    assert scene.answerer.asked == [NOTICE, "wait what about the deposit"]
    assert scene.now - began < 5


def test_silence_comes_with_the_fourth_frame_of_speech(scene: Scene) -> None:
    scene.ask(NOTICE)
    level = scene.ears.level("tell me about the deposit")
    scene.frame(level)
    assert scene.kinds("duck", "hold") == []
    scene.frame(level)
    assert scene.kinds("duck", "hold") == ["duck"]
    scene.frame(level)
    scene.frame(level)
    assert scene.kinds("duck", "hold") == ["duck", "hold"]  # 128 ms


@pytest.mark.parametrize("said", ["okay", "mhm", "right", "uh huh", "i see"])
def test_a_backchannel_does_not_stop_the_answer(scene: Scene, said: str) -> None:
    scene.ask(NOTICE)
    scene.say(said, frames=8 * len(said.split()) + 2)
    scene.until(lambda: bool(scene.all("heard")))
    assert scene.kinds("hold", "resume", "cancel") == ["hold", "resume"]
    assert scene.one("not_a_turn")["reason"] == "backchannel"
    assert scene.answerer.asked == [NOTICE] and scene.one("heard")["complete"]


def test_a_cough_only_ducks(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.say("x", frames=2)
    scene.silence(0.2)
    assert scene.kinds("duck", "hold", "resume", "cancel", "hearing") == ["hearing", "duck", "resume"]


def test_the_assistants_own_voice_in_the_microphone_is_no_turn(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.say("notice period is three months", frames=24)
    scene.silence(1)
    assert scene.one("not_a_turn")["reason"] == "echo"
    assert not scene.all("cancel") and scene.answerer.asked == [NOTICE]


def test_stop_is_obeyed_at_the_first_pause_and_go_on_goes_on(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.until(lambda: scene.position > 3 * SAMPLES_A_WORD)
    scene.say("stop")
    scene.silence(0.25)
    assert scene.one("cancel")["reason"] == "stop"
    assert scene.one("recognised")["command"] == "stop" and scene.one("recognised")["done"]
    assert scene.answerer.asked == [NOTICE]
    scene.silence(1)
    scene.say("go on")
    scene.until(lambda: bool(scene.all("heard", complete=True)))
    again = [event["text"] for event in scene.all("sentence", speech=2)]
    assert again == [f"{ANSWER[0]} [1]", f"{ANSWER[1]} [2]"]
    assert scene.answerer.kept[NOTICE] == " ".join(again)


def test_repeat_says_the_answer_again(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.until(lambda: bool(scene.all("heard")))
    scene.say("repeat that please")
    scene.until(lambda: scene.complete == {1, 2})
    assert [e["text"] for e in scene.all("sentence", speech=1)] == [e["text"] for e in scene.all("sentence", speech=2)]
    assert scene.one("speech", speech=2)["of"] == "repeat" and scene.answerer.asked == [NOTICE]


def test_slower_says_the_present_sentence_again_at_another_rate(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.until(lambda: scene.position > 13 * SAMPLES_A_WORD)  # in the second sentence
    scene.say("slower")
    scene.until(lambda: bool(scene.all("speech", speech=2)))
    assert scene.one("rate")["rate"] == 0.85
    assert scene.one("cancel")["reason"] == "replaced"
    scene.until(lambda: 2 in scene.complete)
    assert scene.all("sentence", speech=2)[0]["text"] == f"{ANSWER[1]} [2]"
    assert scene.voice.rates[-1] == 0.85
    scene.control(type="command", name="faster")
    assert scene.all("rate")[-1]["rate"] == 1.0


def test_louder_and_quieter_turn_what_plays_up_and_down_within_bounds(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.until(lambda: scene.position > 0)
    scene.say("a bit louder please")
    scene.until(lambda: bool(scene.all("heard")))
    assert scene.one("volume")["gain"] == 1.5 and scene.one("recognised")["done"]
    assert scene.one("heard")["complete"] and not scene.all("cancel")  # and nothing is said twice
    for _ in range(5):
        scene.control(type="command", name="quieter")
    assert scene.all("volume")[-1]["gain"] == 0.3 and not scene.all("recognised")[-1]["done"]


def test_where_is_that_tells_the_place_and_opens_it(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.until(lambda: bool(scene.all("heard")))
    scene.say("where is that")
    scene.until(lambda: 2 in scene.complete)
    assert scene.one("open")["citation"]["page"] == 11
    assert scene.one("sentence", speech=2)["spoken"] == "That is on page eleven of the lease."
    assert scene.one("heard")["complete"]  # the history keeps the answer, not this


def test_open_the_page_does_not_stop_the_answer(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.say("show me the page")
    scene.until(lambda: bool(scene.all("heard")))
    assert scene.one("open")["turn"] == 1
    assert scene.one("heard")["complete"] and not scene.all("cancel")


def test_a_question_that_contains_a_command_is_a_question(scene: Scene) -> None:
    scene.say("how do i stop the pump")
    scene.until(lambda: bool(scene.all("answer")))
    assert scene.answerer.asked == ["how do i stop the pump"] and not scene.all("recognised")


def test_a_command_may_be_the_second_hypothesis(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.ears.readings["lower"] = ("slower",)
    scene.say("lower")
    scene.silence(0.6)
    assert scene.one("recognised")["command"] == "slower"


def test_commands_without_an_answer_say_that_there_was_nothing_to_do(scene: Scene) -> None:
    for name in ("stop", "repeat", "go_on", "open_page", "where"):
        scene.control(type="command", name=name)
    assert [event["done"] for event in scene.all("recognised")] == [False] * 5


def test_going_on_after_a_pause_makes_one_question_of_two(scene: Scene) -> None:
    scene.answerer.answers["how long is the notice period in the second lease"] = ["One month."]
    scene.plays = False  # nothing has sounded yet: the network is slow
    scene.say(NOTICE)
    scene.silence(0.5)
    assert scene.answerer.asked == [NOTICE]
    scene.plays = True
    scene.say("in the second lease")
    scene.until(lambda: bool(scene.all("answer", turn=2)))
    assert scene.one("transcript", turn=2)["joins"] == 1
    assert scene.one("transcript", turn=2)["text"] == "how long is the notice period in the second lease"
    assert NOTICE not in scene.answerer.kept  # it was never asked


def test_speech_after_an_end_of_turn_whose_transcript_is_still_awaited_belongs_to_it(scene: Scene) -> None:
    assert isinstance(scene.work, InlineWork)
    scene.say("how long is")
    scene.work.stopped = True  # recognition falls behind
    scene.silence(1.2)
    assert scene.one("end_of_turn")["turn"] == 1 and not scene.all("transcript")
    scene.say("the notice period")
    scene.silence(0.6)
    scene.work.stopped = False
    scene.until(lambda: bool(scene.all("answer")))
    assert scene.answerer.asked == [NOTICE]
    assert scene.one("transcript", turn=2)["joins"] == 1


def test_a_correction_asks_again_and_the_wrong_question_leaves_the_history(scene: Scene) -> None:
    scene.ask("how long is the no this period")
    scene.control(type="correct", turn=1, text=NOTICE)
    scene.until(lambda: bool(scene.all("heard", turn=2)))
    assert scene.one("cancel")["reason"] == "corrected"
    assert scene.one("transcript", turn=2)["corrects"] == 1 and scene.one("transcript", turn=2)["typed"]
    assert list(scene.answerer.kept) == [NOTICE]


def test_a_typed_question_interrupts(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.control(type="ask", text="and the rent?")
    scene.until(lambda: bool(scene.all("answer", turn=2)))
    assert scene.one("cancel")["reason"] == "asked" and scene.answerer.kept[NOTICE] is not None
    assert scene.one("transcript", turn=2)["typed"]


def test_answers_can_be_read_only(scene: Scene) -> None:
    scene.control(type="speak", on=False)
    scene.say(NOTICE)
    scene.until(lambda: bool(scene.all("answer")))
    scene.silence(0.5)
    assert not scene.all("speech") and scene.one("latency")["turn"] == 1


def test_push_to_talk_hears_only_while_the_button_is_held(scene: Scene) -> None:
    scene.control(type="mode", mode="push_to_talk")
    scene.say("nobody hears this")
    scene.silence(1)
    assert not scene.all("hearing")
    scene.control(type="talk", down=True)
    scene.say("how long")
    scene.silence(1.5)  # thinking with the button held ends nothing
    scene.say("is the notice period")
    assert not scene.all("end_of_turn")
    scene.control(type="talk", down=False)
    assert scene.one("end_of_turn")["reason"] == "button" and scene.one("transcript")["text"] == NOTICE
    scene.until(lambda: bool(scene.all("speech")))
    scene.control(type="talk", down=True)
    assert scene.one("cancel")["reason"] == "asked"
    scene.control(type="talk", down=False)
    scene.silence(0.1)
    assert scene.one("not_a_turn")["reason"] == "noise"


def test_a_lost_connection_is_taken_up_without_a_gap_or_a_repetition(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.settle()
    events, received = list(scene.events), dict(scene.received)
    last, have = scene.events[-1]["n"], max(0, len(range(0, received[1], SAMPLES_A_WORD)) - 1)
    scene.conversation.outbox.detach(scene.reader)
    scene.plays = False
    for _ in range(20):  # said, and answered by nobody, while nobody listens
        scene.frame(0.0)
    scene.reader, missed = scene.conversation.outbox.attach(last_event=last, have=(1, have), wake=lambda: None)
    assert not missed
    scene.plays = True
    scene.until(lambda: bool(scene.all("heard")))
    numbers = [event["n"] for event in scene.events if event["type"] not in ("state", "latency")]
    assert numbers == sorted(set(numbers))
    assert scene.events[: len(events)] == events
    assert scene.one("heard")["complete"]


def test_a_reload_gets_everything_again_and_the_sound_from_where_it_was(scene: Scene) -> None:
    scene.ask(NOTICE)
    scene.until(lambda: scene.position > 6 * SAMPLES_A_WORD)
    reader, _ = scene.conversation.outbox.attach(last_event=0, have=None, wake=lambda: None)
    assert scene.reader.replaced
    items = reader.take()
    texts = [item for item in items if isinstance(item, str)]
    assert any('"transcript"' in text for text in texts) and any('"answer"' in text for text in texts)
    assert not any('"partial"' in text for text in texts)
    assert any(isinstance(item, bytes) for item in items)


def test_the_voice_stays_within_its_lead(scene: Scene) -> None:
    scene.answerer.answers[NOTICE] = ["word " * 80 + "end."]
    scene.plays = False
    scene.say(NOTICE)
    scene.silence(0.5)
    scene.until(lambda: scene.received.get(1, 0) > 0)
    scene.control(type="played", speech=1, samples=0, playing=False)
    time.sleep(0.05)
    scene.take()
    lead = scene.received[1] / 16_000
    assert 3.0 < lead < 5.0


def test_a_voice_that_fails_leaves_the_answer_in_writing(scene: Scene) -> None:
    from core.errors import ModelError

    def broken(text: str, *, rate: float = 1.0):  # type: ignore[no-untyped-def]
        raise ModelError("the voice is broken", remedy="Mend it")
        yield

    scene.voice.stream = broken  # type: ignore[method-assign]
    scene.say(NOTICE)
    scene.until(lambda: bool(scene.all("error")))
    assert scene.one("error")["code"] == "voice_failed" and scene.one("answer")
    scene.silence(0.3)
    assert scene.conversation.state == "listening"


def test_recognition_that_fails_is_told_and_the_next_turn_works(scene: Scene) -> None:
    from core.errors import ModelError

    stream = scene.ears.stream

    def broken(vocabulary: object = ()) -> None:
        raise ModelError("the recogniser is gone", remedy="Install it")

    scene.ears.stream = broken  # type: ignore[assignment, method-assign]
    scene.say(NOTICE)
    scene.silence(0.7)
    assert scene.all("error")[0]["code"] == "recognition_failed"
    scene.ears.stream = stream  # type: ignore[method-assign]
    scene.silence(0.5)
    scene.ask(NOTICE)
    assert scene.answerer.asked == [NOTICE]


def test_two_conversations_share_the_work_and_see_their_place() -> None:
    work = InlineWork()
    first, second = Scene(work=work), Scene(work=work)
    first.say(NOTICE)
    second.say(NOTICE)
    work.stopped = True
    first.silence(0.6)
    second.silence(0.6)
    time.sleep(0.31)
    first.conversation.tick()
    second.conversation.tick()
    first.take()
    second.take()
    assert second.one("busy")["position"] > first.one("busy")["position"] if first.all("busy") else second.one("busy")
    work.stopped = False
    for scene in (first, second):
        scene.until(lambda scene=scene: bool(scene.all("answer")))
        assert scene.one("transcript")["text"] == NOTICE


def test_a_mailbox_ticks_while_a_microphone_posts_without_a_pause() -> None:
    """What is told by the clock (busy, a speech that is over) must not wait for silence on the line."""
    ticked = threading.Event()
    mailbox = Mailbox(tick=ticked.set, tick_s=0.05)

    def frame() -> None:
        if not ticked.wait(0.002):  # the next frame is there before this one is done
            mailbox.post(frame)

    for _ in range(3):
        mailbox.post(frame)
    mailbox.start("live-test")
    try:
        assert ticked.wait(30)
    finally:
        ticked.set()
        mailbox.close()
        mailbox.join(10)


def test_threads_of_work_run_urgent_jobs_first_and_tell_positions() -> None:

    from omni.live.work import Priority

    work, gate, done = Work(threads=1), threading.Event(), threading.Event()
    ran: list[str] = []
    work.submit(gate.wait, priority=Priority.HEAR)
    while not work._running:
        time.sleep(0.001)
    guess = work.submit(lambda: ran.append("guess"), priority=Priority.GUESS)
    answer = work.submit(lambda: ran.append("answer"), priority=Priority.ANSWER)
    last = work.submit(done.set, priority=Priority.GUESS)
    assert (answer.position, guess.position, last.position) == (1, 2, 3)
    gate.set()
    assert done.wait(5)
    assert ran == ["answer", "guess"] and answer.position == 0
    work.close()


def test_sixty_turns_lose_no_turn_and_leak_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes on the scene's clock: memory after turn 60 is that after turn 40, give or take 5 %."""
    monkeypatch.setattr(outbox, "KEPT_EVENTS", 200)  # reached well before it is measured
    scene = Scene()
    sizes: list[int] = []
    # What the scene notes down is its own affair, and threads that earlier tests left behind may be allocating, too.
    ours = [tracemalloc.Filter(True, "*/omni/live/*")]
    tracemalloc.start()
    try:
        for number in range(60):
            question = f"how long is the notice period in lease number {number:02d}"
            scene.answerer.answers[question] = ANSWER
            count = len(scene.answerer.asked)
            scene.say(question)
            scene.until(lambda count=count: len(scene.answerer.asked) > count and scene.position > 0)
            if number % 3 == 0:
                scene.say("okay", frames=10)
            scene.until(lambda: scene.conversation.state == "listening")
            scene.silence(2)
            # what a client and the scripts keep is theirs
            scene.events.clear()
            scene.received.clear()
            scene.records.clear()
            scene.answerer.answers.clear()
            scene.answerer.looked.clear()
            if number in (39, 59):
                gc.collect()
                sizes.append(sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(ours).traces))
    finally:
        tracemalloc.stop()
    assert len(scene.answerer.asked) == 60
    assert scene.ears.open == 0
    assert scene.now > 100 + 9 * 60
    assert sizes[1] < 1.05 * sizes[0] + 8_000, sizes  # a turn that is kept takes thousands of bytes, and there were 20


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_turn_understood_at_its_pause_waits_for_no_thread(goes_on: bool) -> None:
    """All threads may be looking things up when somebody has finished: their words are known already."""
    jobs: list[Callable[[], None]] = []

    class Busy(InlineWork):
        def submit(self, job: Callable[[], None], *, priority: Priority) -> Ticket:
            jobs.append(job)
            return Ticket(self, job, priority, 0)

    def at_once(job: Callable[[], None]) -> None:
        job()

    told: list[Heard] = []
    ears = ScriptedRecogniser()
    ears.lines.append("one two three four")
    hearing = Hearing(lambda: ears, tuple, Busy(), at_once, told.append)
    frame = np.full(FRAME, 0.05, np.float32)
    for _ in range(10):
        hearing.accept(frame)
    hearing.pause()
    for job in jobs:
        job()
    hearing.accept(np.zeros(FRAME, np.float32))  # silence
    assert told[-1].kind == "pause"
    if goes_on:
        hearing.resume()
    hearing.finish()
    assert (told[-1].kind == "final") is not goes_on
    jobs[-1]()
    assert [heard.kind for heard in told].count("final") == 1 and told[-1].transcript.text.startswith("one")
    assert ears.open == 0, "the decoders are handed back"
