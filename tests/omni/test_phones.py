"""From spoken text to phones: dictionary, letter rules, what happens between words; nothing stays silent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.train.voice_letters import score, train_letters
from omni.voice.front_end import FrontEnd, can_speak
from omni.voice.letter_rules import LetterRules, word_accuracy
from omni.voice.letters_to_sound import LettersToSound
from omni.voice.lexicon import Lexicon, Pronunciation
from omni.voice.neural_voice import SHIPPED
from omni.voice.phones import INDEX, PAUSE, STATE_DIM, VOWELS, Phone, states


def entries(text: str) -> dict[str, Pronunciation]:
    return {line.split()[0]: tuple(line.split()[1:]) for line in text.strip().splitlines()}


WORDS = entries("""
the dh ax
end eh1 n d
rent r eh1 n t
is ih1 z
due d uw1
lease l iy1 s
boss b ao1 s
video v ih1 d iy ow
board b ao1 r d
a ax
use y uw1 s
to t ax
we w iy1
""")


def front_end(guess: object = None) -> FrontEnd:
    return FrontEnd(Lexicon(WORDS, guess or (lambda word: tuple("ah" for _ in word))))  # type: ignore[arg-type]


def said(text: str) -> str:
    return " ".join(phone.name + ("1" if phone.stress else "") for phone in front_end().phones(text))


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("Rent is due.", "pau r eh1 n t ih1 z d uw1 pau"),
        ("The end", "pau dh iy eh1 n d pau"),  # before a vowel
        ("The rent, the end?", "pau dh ax r eh1 n t pau dh iy eh1 n d pau"),
        ("lease's", "pau l iy1 s ax z pau"),
        ("rents", "pau r eh1 n t s pau"),
        ("videoboard", "pau v ih1 d iy ow b ao r d pau"),  # two known words
        ("the EBC", "pau dh iy iy1 b iy1 s iy1 pau"),  # an acronym is spelled
        ("we use a lease", "pau w iy1 y uw1 z ax l iy1 s pau"),  # verb
        ("the use", "pau dh ax y uw1 s pau"),  # noun
        ("Réñt", "pau r eh1 n t pau"),
        ("Rent, , due...", "pau r eh1 n t pau d uw1 pau"),
        ("", ""),
        (" . , ", ""),
    ],
)
def test_words_become_phones(text: str, phones: str) -> None:
    assert said(text) == phones


def test_pauses_carry_the_mark_they_stand_for() -> None:
    marks = [phone.mark for phone in front_end().phones("Rent, due; is the end?") if phone.name == PAUSE]
    assert marks == ["", ",", ";", "?"]


@given(st.text(alphabet=st.characters(categories=["L", "P", "N", "Z"]), max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_text_with_latin_letters_speaks(text: str) -> None:
    phones = front_end().phones(text)
    if any("a" <= letter.lower() <= "z" for letter in text):
        assert any(phone.name in VOWELS for phone in phones)
    assert all(phone.name in INDEX for phone in phones)
    assert states(phones).shape == (len(phones), STATE_DIM)


def test_states_tell_questions_stress_and_the_way_to_the_end() -> None:
    base = [Phone(PAUSE), Phone("d", starts_word=True), Phone("uw", 1, ends_word=True)]
    statement, question = (states([*base, Phone(PAUSE, mark=mark)]) for mark in ".?")
    assert (statement != question).any(axis=1).tolist() == [False, True, True, True]
    unstressed = states([*base[:2], Phone("uw", 0, ends_word=True), Phone(PAUSE, mark=".")])
    assert (statement != unstressed).any(axis=1).tolist() == [False, False, True, False]
    assert set(np.unique(statement)) <= {0.0, 1.0}


def test_other_scripts_are_told_apart() -> None:
    assert can_speak("Zoë paid 5 €.") and can_speak("12:30") and can_speak("")
    assert not can_speak("租金在每月的第一天到期。") and not can_speak("Аренда") and not can_speak("कर")


def test_letter_rules_learn_the_dictionary_and_new_words() -> None:
    """Regular made-up spelling: every word outside the training set must come out right."""
    letters = {"b": "b", "d": "d", "k": "k", "m": "m", "a": "ae", "e": "eh", "o": "aa", "sh": "sh"}
    chance = np.random.default_rng(0)
    made: dict[str, Pronunciation] = {}
    while len(made) < 600:
        parts = [str(part) for part in chance.choice(list(letters), size=5)]
        word = "".join(parts)
        if "sh" in word.replace("sh", "", 1) or not any(letters[part] in VOWELS for part in parts):
            continue
        phones = [letters[part] for part in parts]
        first = next(index for index, phone in enumerate(phones) if phone in VOWELS)
        made[word] = tuple(phone + "1" if index == first else phone for index, phone in enumerate(phones))
    held = dict(list(made.items())[500:])
    rules = LetterRules.learn({word: phones for word, phones in made.items() if word not in held})
    words, phones = word_accuracy(rules, held.items())
    assert words > 0.95 and phones > 0.98
    joint = train_letters({word: phones for word, phones in made.items() if word not in held})
    found = score(joint, held.items())
    assert found.words > 0.95 and found.phone_errors < 0.02


def test_letters_to_sound_survive_the_disk_and_say_any_word(tmp_path: Path) -> None:
    letters = train_letters(WORDS, order=3)
    letters.save(tmp_path / "letters.npz")
    again = LettersToSound.load(tmp_path / "letters.npz")
    for word in [*WORDS, "qqq", "xylophone", "a" * 200, "z"]:
        assert again(word) == letters(word)
        assert all(phone.rstrip("1") in INDEX for phone in again(word))
    assert again("lease") == WORDS["lease"] and again("") == ()


@pytest.mark.skipif(not (SHIPPED / "letters.npz").is_file(), reason="no letters in models/voice")
def test_names_that_no_dictionary_holds_are_said_as_their_letters_suggest() -> None:
    letters = LettersToSound.load(SHIPPED / "letters.npz")
    said = {word: " ".join(letters(word)).replace("1", "") for word in ("zarpendale", "kowalczyk", "blorfing", "ghent")}
    assert said["zarpendale"].startswith(("z aa r p eh n d ey l", "z aa r p ax n d ey l"))
    assert said["kowalczyk"].startswith("k") and said["kowalczyk"].endswith("k") and "ch" in said["kowalczyk"]
    assert (said["blorfing"], said["ghent"]) == ("b l ao r f ih ng", "g eh n t")


def test_dictionary_and_rules_survive_the_disk(tmp_path: Path) -> None:
    Lexicon(WORDS).save(tmp_path / "lexicon.gz")
    assert Lexicon.load(tmp_path / "lexicon.gz")("lease") == ("l", "iy1", "s")
    rules = LetterRules.learn(WORDS)
    rules.save(tmp_path / "rules.gz")
    again = LetterRules.load(tmp_path / "rules.gz")
    assert [again(word) for word in WORDS] == [rules(word) for word in WORDS]
