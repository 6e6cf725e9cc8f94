"""Train a small Whisper on recordings, read its report, transcribe a longer recording to subtitles, and hand the network on.

Run it with no argument for commands that eSpeak NG speaks, or with a table of your own (csv, tsv, jsonl), its column of
recordings and its column of texts:

    python examples/transcription.py clips.csv path sentence
"""

import csv
import sys
from pathlib import Path

import numpy as np

from pipelines import data, load
from speech import SpeechTranscriber
from speech.demo import COMMANDS, say_commands, write_wav
from speech.synthesis import speak

# 1. Recordings (wav, mp3, flac, ogg, m4a, the sound of videos, …) and what is said in them. Arrays at 16 kHz, pairs (array, rate)
#    and what the datasets library gives will do as well. Everything a voice says belongs to one side of the split.
if len(sys.argv) > 3:
    X, y = data.recordings(sys.argv[1], audio=sys.argv[2], text=sys.argv[3])
    voices = None
else:
    waves, y, voices = say_commands(rates=(150, 190), pitches=(40, 60))
    Path("clips").mkdir(exist_ok=True)
    with open("clips.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "sentence"])
        for i, (wave, text) in enumerate(zip(waves, y, strict=True)):
            write_wav(Path(f"clips/{i}.wav"), wave)
            rows.writerow([f"clips/{i}.wav", text])
    X, y = data.recordings("clips.csv", audio="path", text="sentence")
X, X_test, y, y_test = data.split(X, y, test=0.2, groups=voices, seed=0)

# 2. A small network from scratch. With more to say, start from Whisper's own weights, and fine-tune all of it or some:
#        SpeechTranscriber(weights="base").fit(X, y)                      # a name: openai-whisper's cache, or downloaded once
#        SpeechTranscriber(weights="small.pt", freeze="adapters").fit(X, y)
#        SpeechTranscriber(weights="turbo").predict(["talk.mp3"])         # as it is, without fit
model = SpeechTranscriber(weights=None, word_times=True, epochs=12).fit(X, y)

# 3. Judge: word and character errors with intervals, raw and normalised, beside a baseline; the report shows the worst.
report = model.evaluate(X_test, y_test)
print(report)
report.save("transcription-report.html")

# 4. A longer recording with pauses: what is no speech is left out, and told; times count from the begin of the recording.
pause = np.zeros(16_000, dtype=np.float32)
talk = np.concatenate([part for command in COMMANDS[:4] for part in (pause, speak(command, voice="en-us"))])
transcript = model.predict([talk])[0]
print(transcript.render("srt"))
print([(skipped.start, skipped.end, skipped.reason) for skipped in transcript.skipped])
transcript.save("talk.vtt")

# 5. Keep it, or hand it on: to `whisper.load_model`, to transformers, or to faster-whisper; each file is read again and compared.
model.save("transcription-model")
print(load("transcription-model").predict(X_test[:3]))
print(model.export("whisper.pt"))
