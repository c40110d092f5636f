"""`elman`: the verbs, and how errors are reported."""

import os
import sys

from cyclopts import App, CycloptsError, UnknownCommandError, UnknownOptionError

from elman import __version__
from elman.errors import Stopped, unknown
from elman.files import STANDARD_INPUT

VERBS = {
    "demo": "Train a character model for a minute and a half and generate text with it.",
    "train": "Train a model on your data.",
    "sample": "Generate text with a trained model.",
    "predict": "Predict with a trained model: the class, the tags, the translation, the caption.",
    "inspect": "Report what a trained model has learned: its units, its gates, its attention, its gradient.",
    "compare": "Train several cells on one text, each for the same time.",
    "eval": "Evaluate a trained model on a split of its data, or on other data: loss, accuracy, F1, BLEU.",
    "list": "List the runs, the cells, the tasks, or the built-in data.",
    "doctor": "Show this machine, and which backend runs each cell.",
}
app = App(name="elman", version=f"elman {__version__}", help="Train, sample and inspect recurrent networks.")
for verb, summary in VERBS.items():
    app.command(f"elman.cli.{verb}:{'app' if verb == 'train' else verb + '_'}", name=verb, help=summary)

# the flags of other tools (char-rnn, torch-rnn, textgenrnn, PyTorch's word_language_model, Keras)
FOREIGN = {
    "rnn-size": "hidden", "hidden-size": "hidden", "nhid": "hidden", "units": "hidden", "size": "hidden",
    "num-layers": "layers", "nlayers": "layers", "rnn-layers": "layers", "model": "cell", "rnn-type": "cell",
    "learning-rate": "lr", "learning-rate-decay": "lr", "decay": "weight-decay", "seq-length": "seq-len",
    "block-size": "seq-len", "batch": "batch-size", "max-epochs": "epochs", "num-epochs": "epochs",
    "max-iters": "steps", "grad-clip": "clip", "clipnorm": "clip", "clipvalue": "clip-by",
    "wordvec-size": "embedding", "emsize": "embedding", "init-from": "resume", "checkpoint": "resume",
    "checkpoint-dir": "out", "save": "out", "val-frac": "valid", "val": "valid", "test-frac": "test",
    "train-frac": "valid", "eval-val-every": "eval-every", "eval-interval": "eval-every", "primetext": "prompt",
    "start-text": "prompt", "prime": "prompt", "argmax": "greedy", "time": "for", "gpuid": "device", "gpu": "device",
    "cuda": "device",
}  # fmt: skip


def main() -> int:
    """Runs the command line. A mistake of the user is one line and exit code 2."""
    # the threads of libgomp, which torch loads, spin while they wait for each other, at the cost of other programs; after
    # so many rounds, which a quiet machine never needs, they sleep
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        words = [STANDARD_INPUT if word == "-" else word for word in sys.argv[1:]]  # a lone - is no option
        app(words, exit_on_error=False, print_error=False)
    except Stopped as stopped:
        return _fail(str(stopped), stopped.code)
    except CycloptsError as error:
        return _fail(_message(error), 2)
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    except BrokenPipeError:  # the reader of our output, `head` for example, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def _fail(message: str, code: int) -> int:
    from elman.cli.log import log

    log(" ".join(message.split("\n")))
    return code


def _message(error: CycloptsError) -> str:
    """The message of an error in parsing, where a flag of another tool gets the name that it has here. For a verb the
    message of cyclopts would import all verbs."""
    if isinstance(error, UnknownCommandError) and error.app is app and error.unused_tokens:
        return str(unknown("verb", error.unused_tokens[0], VERBS))
    if isinstance(error, UnknownOptionError) and error.token is not None:
        given = (error.token.keyword or error.token.value or "").lstrip("-").partition("=")[0].replace("_", "-").lower()
        if given in FOREIGN:
            return f"unknown option --{given}: here it is --{FOREIGN[given]}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
