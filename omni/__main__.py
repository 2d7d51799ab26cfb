"""Speech from the command line.

python -m omni transcribe question.wav --workspace lease --json
python -m omni speak "Rent is due on 1 June." -o out.wav
python -m omni download                      # the speech language model, for engine = "omni"
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import LecternError, UsageError, cli_main
from core.runtime import bound_kernels, set_up_logging, stay_offline
from core.settings import Settings, load_settings
from omni.download import add_parser as add_download_parser

if TYPE_CHECKING:
    from omni.language_bias import DocumentLanguage


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m omni", description="Speech to text and text to speech.")
    parser.add_argument("--home", help="where workspaces and lectern.toml live (default: LECTERN_HOME or ~/.lectern)")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what happens to stderr")
    # also accepted after the command, where people put them; SUPPRESS keeps a value given before it
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--home", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    common.add_argument("--json", action="store_true", help="JSON alone on stdout")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    transcribe = commands.add_parser(
        "transcribe",
        parents=[common],
        help="recognise speech in recordings",
        description="Recognise speech. Any sample rate and length; WAV, FLAC, OGG, MP3, M4A, WebM. One bad file is "
        "reported on stderr and the others go on; the exit status is then 1.",
    )
    transcribe.add_argument("files", nargs="+", metavar="FILE", help="recordings")
    transcribe.add_argument("--workspace", metavar="W", help="expect the words of this workspace's documents")
    transcribe.add_argument(
        "--recogniser",
        metavar="R",
        help="auto | moonshine | pocketsphinx | faster-whisper:NAME_OR_PATH | transformers:ID_OR_PATH "
        "(default: speech.recogniser)",
    )
    transcribe.set_defaults(run=run_transcribe)

    speak = commands.add_parser(
        "speak",
        parents=[common],
        help="speak a text into a WAV file",
        description="Speak a text: figures, symbols and Markdown are put into words first.",
    )
    speak.add_argument("text", metavar="TEXT", help="what to say; - reads it from stdin")
    speak.add_argument("-o", "--output", required=True, metavar="OUT.wav", help="the WAV file to write (16-bit mono)")
    speak.add_argument(
        "--voice",
        metavar="V",
        help="auto | lectern[:rms|slt|FOLDER] | espeak[:VOICE] | transformers:ID_OR_PATH (default: speech.voice)",
    )
    speak.add_argument("--rate", type=float, metavar="X", help="speaking rate, 0.5 to 2, 1 = normal")
    speak.set_defaults(run=run_speak)
    add_download_parser(commands, common)
    return parser


def run_transcribe(arguments: argparse.Namespace) -> int:
    from omni.asr import load_recogniser
    from omni.audio import load_audio
    from omni.cascade import require_speech

    settings = _settings(arguments, recogniser=arguments.recogniser)
    vocabulary = _document_language(settings, arguments.workspace) if arguments.workspace else ()
    recogniser = load_recogniser(settings.speech, device=settings.device)
    prepare = getattr(recogniser, "prepare", None)
    if prepare is not None:
        prepare(vocabulary)  # not part of the real-time factor
    failures = 0
    for file in arguments.files:
        try:
            waveform = load_audio(file)
            started = time.perf_counter()
            transcript = recogniser.transcribe(waveform, vocabulary=vocabulary)
            elapsed_s = time.perf_counter() - started
            require_speech(transcript, file)
        except LecternError as error:
            failures += 1
            print("error: " + " ".join(str(error).split()), file=sys.stderr)
            continue
        if arguments.json:
            record = {
                "file": file,
                "text": transcript.text,
                "seconds": round(transcript.seconds, 3),
                "rtf": round(elapsed_s / transcript.seconds, 3),
                "confidence": round(transcript.confidence, 3),
                "recogniser": recogniser.name,
                "segments": [
                    {"start_s": round(s.start_s, 3), "end_s": round(s.end_s, 3), "text": s.text}
                    for s in transcript.segments
                ],
            }
            print(json.dumps(record, ensure_ascii=False), flush=True)
        else:
            prefix = f"{file}: " if len(arguments.files) > 1 else ""
            print(f"{prefix}{transcript.text}", flush=True)
    return 1 if failures else 0


def run_speak(arguments: argparse.Namespace) -> int:
    from omni.audio import concatenate, save_wav
    from omni.spoken_form import spoken
    from omni.tts import load_synthesiser

    text = sys.stdin.read() if arguments.text == "-" else arguments.text
    settings = _settings(arguments, voice=arguments.voice, rate=arguments.rate)
    words = spoken(text)
    if not words:
        raise UsageError("there is nothing to say in this text", remedy="Give a text with words in it")
    synthesiser = load_synthesiser(settings.speech, device=settings.device)
    started = time.perf_counter()
    first_audio_ms = 0.0
    pieces = []
    for piece in synthesiser.stream(words, rate=settings.speech.rate):
        first_audio_ms = first_audio_ms or (time.perf_counter() - started) * 1000
        pieces.append(piece)
    total_ms = (time.perf_counter() - started) * 1000
    if not pieces:
        raise UsageError(f"the voice {synthesiser.name} has no sound for this text", remedy="Choose another voice")
    waveform = concatenate(pieces)
    path = save_wav(Path(arguments.output), waveform)
    if arguments.json:
        record = {
            "text": text,
            "spoken": words,
            "voice": synthesiser.name,
            "audio": {"path": str(path), "sample_rate": waveform.sample_rate, "seconds": round(waveform.seconds, 3)},
            "timings_ms": {"first_audio": round(first_audio_ms, 2), "total": round(total_ms, 2)},
        }
        print(json.dumps(record, ensure_ascii=False))
    else:
        print(f"{path}: {waveform.seconds:.1f} s at {waveform.sample_rate} Hz")
    return 0


def _settings(arguments: argparse.Namespace, **speech: object) -> Settings:
    """The settings tree with what the command line says about speech."""
    given = {name: value for name, value in speech.items() if value is not None}
    return load_settings(arguments.home, **({"speech": given} if given else {}))


def _document_language(settings: Settings, name: str) -> DocumentLanguage:
    from ingest.workspace import Workspace
    from omni.language_bias import document_language

    return document_language(Workspace.open(settings.home, name, create=False))


def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    stay_offline()
    bound_kernels()
    set_up_logging(arguments.verbose)
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(cli_main(main))
