"""Files: what is written is whole or not there, what is read is what was written."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from elman import files
from elman.errors import UserError
from elman.files import append, cache_folder, read, recover_folder, replace_folder, seal, state_folder, unseal, write
from elman.printable import one_line, printable
from user_errors import fails

busy = [HealthCheck.too_slow]  # of a busy machine, not of the tests
some = settings(deadline=None, derandomize=True, database=None, max_examples=150, suppress_health_check=busy)
OLD = {"a.txt": b"old a", "b.bin": bytes(range(256)), "only old": b"x"}
NEW = {"a.txt": b"new, and longer, a", "b.bin": b"", "only new": b"y" * 5000}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run_python(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# a file


def test_a_file_is_written_with_the_folders_above_it(tmp_path):
    path = tmp_path / "some" / "new" / "folder" / "file"
    write(path, b"content")
    assert path.read_bytes() == b"content"
    assert names(path.parent) == ["file"]


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "file"
    write(path, b"a long first content")
    write(path, b"short")
    assert contents(tmp_path) == {"file": b"short"}


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_beside_it(tmp_path, monkeypatch, broken):
    path = tmp_path / "file"
    write(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[broken], full_disk)
        with pytest.raises(UserError, match=f"cannot write {path}: No space left on device.*before is intact"):
            write(path, b"new")
    assert contents(tmp_path) == {"file": b"old"}


def test_a_write_that_fails_where_nothing_was_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UserError):
        write(tmp_path / "file", b"new")
    assert names(tmp_path) == []


def test_a_write_that_is_interrupted_leaves_the_old_content_and_nothing_beside_it(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    path = tmp_path / "file"
    write(path, b"old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(path, b"new")
    assert contents(tmp_path) == {"file": b"old"}


def test_the_file_holds_its_old_content_until_all_of_the_new_is_on_the_disk(tmp_path, monkeypatch):
    path, observed, fsync = tmp_path / "file", [], os.fsync

    def record(number):
        fsync(number)
        observed.append((path.read_bytes(), [p.read_bytes() for p in tmp_path.iterdir() if p != path]))

    write(path, b"old")
    monkeypatch.setattr(os, "fsync", record)
    write(path, b"new")
    assert observed == [(b"old", [b"new"])]


def test_a_file_where_a_folder_should_be_is_a_user_error(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UserError, match="cannot write"):
        write(tmp_path / "file" / "below", b"new")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        write(tmp_path / "folder", b"new")
    assert names(tmp_path) == ["file", "folder"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from elman.errors import UserError
from elman.files import replace_folder, write

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit is then an error, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
folder = Path(sys.argv[1])
for attempt in (
    lambda: write(folder / "file", b"n" * 5000),
    lambda: replace_folder(folder / "resume", {"small": b"s", "large": b"l" * 5000}),
):
    try:
        attempt()
    except UserError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
def test_a_disk_that_is_really_full_takes_nothing_away(tmp_path):
    write(tmp_path / "file", b"old")
    replace_folder(tmp_path / "resume", OLD)
    lines = run_python(FULL_DISK, tmp_path).splitlines()
    assert len(lines) == 2
    assert all("cannot write" in line and "is intact" in line for line in lines)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert contents(tmp_path / "resume") == OLD
    replace_folder(tmp_path / "resume", NEW)  # what the failure left does not stand in the way
    assert contents(tmp_path / "resume") == NEW
    assert names(tmp_path) == ["file", "resume"]


WRITER = """
import sys
from pathlib import Path
from elman.files import write

for _ in range(100):
    write(Path(sys.argv[1]), sys.argv[2].encode() * 20_000)
"""


def test_two_processes_that_write_one_file_leave_the_whole_of_one(tmp_path):
    path = tmp_path / "file"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, letter]) for letter in "ab"]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            assert path.read_bytes() in (b"a" * 20_000, b"b" * 20_000)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert names(tmp_path) == ["file"]


# a folder


class Killed(BaseException):
    """Ends a process: nothing catches it."""


KILLED = """
import os, sys
from pathlib import Path
from elman.files import replace_folder

moment, changes = int(sys.argv[1]), {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def count(event, arguments):
    global moment
    moment -= event in changes
    if moment < 0:
        os._exit(9)  # no `finally` runs, nothing is flushed


new = {name: bytes.fromhex(content) for name, content in zip(sys.argv[3::2], sys.argv[4::2])}
sys.addaudithook(count)
replace_folder(Path(sys.argv[2]), new)
os._exit(0)
"""


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "run" / "resume"
    replace_folder(folder, OLD)
    assert contents(folder) == OLD
    replace_folder(folder, NEW)
    assert contents(folder) == NEW
    assert names(folder.parent) == ["resume"]


def test_a_replacement_that_is_killed_before_any_change_leaves_all_of_the_old_or_all_of_the_new(tmp_path):
    new = [word for name, content in NEW.items() for word in (name, content.hex())]
    left, ended = [], None
    while ended != 0:  # killed before its first change, its second, ... until it comes to its end
        folder = tmp_path / str(len(left)) / "resume"
        replace_folder(folder, OLD)
        ended = subprocess.run([sys.executable, "-c", KILLED, str(len(left)), folder, *new]).returncode
        assert ended in (0, 9)
        again = shutil.copytree(folder.parent, tmp_path / f"{len(left)} again") / "resume"
        replace_folder(again, NEW)  # without a recovery
        assert contents(again) == NEW
        assert names(again.parent) == ["resume"]
        recover_folder(folder)
        left.append(contents(folder))
        replace_folder(folder, OLD)
        assert contents(folder) == OLD
        assert names(folder.parent) == ["resume"]
    assert len(left) > 2 * len(NEW) + 2  # each file is opened and renamed, and the folder's two renames
    done = left.index(NEW)
    assert done > 0
    assert left == [OLD] * done + [NEW] * (len(left) - done)


@pytest.mark.parametrize("call", [1, 2])
def test_a_replacement_killed_at_a_rename_is_recovered(tmp_path, monkeypatch, call):
    folder, calls, rename = tmp_path / "resume", [], Path.rename

    def killed(self, target):
        calls.append(target)
        if len(calls) == call:
            raise Killed
        return rename(self, target)

    replace_folder(folder, OLD)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            replace_folder(folder, NEW)
    assert folder.exists() == (call == 1)
    recover_folder(folder)
    assert contents(folder) == OLD


@pytest.mark.parametrize("call", [1, 2])
def test_a_rename_that_fails_is_a_user_error_and_the_old_folder_is_kept(tmp_path, monkeypatch, call):
    folder, calls, rename = tmp_path / "resume", [], Path.rename

    def fails(self, target):
        calls.append(target)
        return full_disk() if len(calls) == call else rename(self, target)

    replace_folder(folder, OLD)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fails)
        with pytest.raises(UserError, match=f"cannot write {folder}: No space left on device"):
            replace_folder(folder, NEW)
    recover_folder(folder)
    assert contents(folder) == OLD


def test_a_replacement_without_room_for_its_files_leaves_the_old_folder(tmp_path, monkeypatch):
    folder = tmp_path / "resume"
    replace_folder(folder, OLD)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(UserError, match="No space left on device"):
            replace_folder(folder, NEW)
    assert contents(folder) == OLD


def test_nothing_is_recovered_where_nothing_is_wrong(tmp_path):
    folder = tmp_path / "resume"
    recover_folder(folder)
    assert names(tmp_path) == []
    replace_folder(folder, OLD)
    recover_folder(folder)
    assert contents(folder) == OLD


def test_what_a_finished_replacement_did_not_get_to_remove_is_removed(tmp_path):
    folder = tmp_path / "resume"
    replace_folder(folder, NEW)
    replace_folder(tmp_path / ".resume.old", {"half of the old": b""})
    recover_folder(folder)
    assert contents(folder) == NEW
    assert names(tmp_path) == ["resume"]


# a seal

VALUE = {
    "text": 'a line\n\t"quoted" \\ é 漢 \U0001f600',
    "numbers": [0, -1, 1.5, 1e-30, 10**30, True, False, None],
    "nest": {"b": {}, "a": [[], [""]]},
    "": "the empty key",
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
    max_leaves=10,
)


def same(a, b):
    """Equal also in type: 1 is not 1.0, nor True."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


@some
@given(st.dictionaries(st.text().filter(lambda key: key != "digest"), json_values, max_size=4))
def test_what_was_sealed_is_read_back(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "sealed"
    path.write_bytes(seal(value))
    assert same(unseal(path), value)


def test_a_sealed_file_is_json_that_a_person_can_read():
    text = seal(VALUE).decode("utf-8")
    assert "漢" in text
    assert json.loads(text)["nest"] == VALUE["nest"]
    assert text.count("\n") > len(VALUE)


def test_the_seal_does_not_depend_on_the_order_of_keys(tmp_path):
    swapped = dict(reversed(json.loads(seal(VALUE)).items()))
    (tmp_path / "sealed").write_text(json.dumps(swapped), "utf-8")
    assert unseal(tmp_path / "sealed") == VALUE


def unseals_to_the_same_or_fails(path, content):
    path.write_bytes(content)
    try:
        value = unseal(path)
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017 - it may also pass
        return False
    assert same(value, VALUE)
    return True


SEALED = seal(VALUE)


@some
@given(position=st.integers(0, len(SEALED) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_is_an_error_unless_the_value_is_the_same(tmp_path_factory, position, byte):
    path = tmp_path_factory.getbasetemp() / "sealed"
    unseals_to_the_same_or_fails(path, SEALED[:position] + bytes([byte]) + SEALED[position + 1 :])


def test_every_flipped_bit_is_an_error_unless_the_value_is_the_same(tmp_path):
    passed = 0
    for position in range(len(SEALED)):
        for bit in (0, 3, 5, 7):
            changed = bytearray(SEALED)
            changed[position] ^= 1 << bit
            passed += unseals_to_the_same_or_fails(tmp_path / "sealed", bytes(changed))
    assert passed < 0.02 * 4 * len(SEALED)  # a space that became another white space, and little else


def test_every_letter_or_digit_that_becomes_another_is_an_error(tmp_path):
    for position, byte in enumerate(SEALED):
        if chr(byte).isalnum():
            (tmp_path / "sealed").write_bytes(
                SEALED[:position] + (b"2" if byte != 50 else b"3") + SEALED[position + 1 :]
            )
            with pytest.raises(UserError, match=r"damaged|altered"):
                unseal(tmp_path / "sealed")


def test_every_file_that_was_cut_short_is_an_error(tmp_path):
    for length in range(len(SEALED)):
        (tmp_path / "sealed").write_bytes(SEALED[:length])
        with pytest.raises(UserError, match="is damaged"):
            unseal(tmp_path / "sealed")


@some
@given(st.data())
def test_a_stretch_that_is_lost_or_put_twice_is_an_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "sealed"
    begin = data.draw(st.integers(0, len(SEALED) - 1))
    end = data.draw(st.integers(begin + 1, len(SEALED)))
    unseals_to_the_same_or_fails(path, SEALED[:begin] + SEALED[end:])
    unseals_to_the_same_or_fails(path, SEALED[:end] + SEALED[begin:])


@pytest.mark.parametrize("content", [b"", b"[]", b"1", b"null", b'"digest"', b"{}", b'{"a": 1}', b"\xff\xfe\x00", b"["])
def test_what_was_never_sealed_is_damaged(tmp_path, content):
    (tmp_path / "sealed").write_bytes(content)
    with pytest.raises(UserError, match="sealed is damaged: it is not whole JSON"):
        unseal(tmp_path / "sealed")


def test_a_value_that_was_edited_is_named_as_altered(tmp_path):
    (tmp_path / "sealed").write_bytes(seal({"hidden": 128}).replace(b"128", b"256"))
    with pytest.raises(UserError, match="sealed was altered: its digest does not fit"):
        unseal(tmp_path / "sealed")


def test_a_sealed_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing is missing"):
        unseal(tmp_path / "nothing")


def test_a_sealed_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def denied(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (tmp_path / "sealed").write_bytes(SEALED)
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(UserError, match=f"cannot read {tmp_path / 'sealed'}: Permission denied"):
        unseal(tmp_path / "sealed")


def test_a_path_whose_name_is_not_utf8_can_be_sealed(tmp_path):
    value = {"paths": [os.fsdecode(b"caf\xe9.txt")]}  # as the operating system gives it
    (tmp_path / "sealed").write_bytes(seal(value))
    assert unseal(tmp_path / "sealed") == value


# what lies in a stranger's folder


@pytest.fixture
def outside(tmp_path):
    """A file that nothing may read or overwrite, beside the folder of a run."""
    (tmp_path / "run").mkdir()
    (tmp_path / "outside").write_bytes(b"secret")
    return tmp_path / "outside"


def test_a_link_is_not_followed(tmp_path, outside):
    run = tmp_path / "run"
    (run / "file").symlink_to(outside)
    (run / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_bytes(b"secret")
    (run / "folder").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "dangling", "folder/file"):
        fails(lambda name=name: read(run / name, run, 100), str(run / Path(name).parts[0]), "is a link")
        fails(lambda name=name: append(run / name, run, "x"), str(run / Path(name).parts[0]))
    fails(lambda: write(run / "folder" / "new", b"x", run), f"{run / 'folder'} is a link")
    write(run / "file", b"mine", run)
    assert read(run / "file", run, 100) == b"mine"
    assert outside.read_bytes() == b"secret"
    assert names(tmp_path / "elsewhere") == ["file"]
    assert not (tmp_path / "nothing").exists()


def test_the_run_itself_may_be_reached_through_a_link(tmp_path, outside):
    (tmp_path / "link").symlink_to(tmp_path / "run")
    write(tmp_path / "run" / "file", b"x")
    assert read(tmp_path / "link" / "file", tmp_path / "link", 100) == b"x"


@pytest.mark.parametrize("name", ["../outside", "folder/../../outside", "/etc/hostname"])
def test_a_path_out_of_the_folder_is_refused(tmp_path, outside, name):
    run = tmp_path / "run"
    (run / "folder").mkdir()
    fails(lambda: read(run / name, run, 100), "does not lie in")
    fails(lambda: write(run / name, b"x", run), "does not lie in")
    assert outside.read_bytes() == b"secret"


def test_what_is_no_regular_file_is_refused_at_once(tmp_path, outside):
    run = tmp_path / "run"
    os.mkfifo(run / "fifo")
    (run / "folder").mkdir()
    for name in ("fifo", "folder"):
        fails(lambda name=name: read(run / name, run, 100), str(run / name))
        fails(lambda name=name: append(run / name, run, "x"), str(run / name))
    fails(lambda: read(Path("/dev/zero"), Path("/dev"), 100), "/dev/zero is no regular file")


def test_a_file_that_is_too_large_is_not_read(tmp_path, outside):
    path = tmp_path / "run" / "file"
    with path.open("wb") as file:
        file.truncate(2**40)
    fails(lambda: read(path, path.parent, 100), str(path), "1,099,511,627,776 bytes", "100")


def test_a_planted_link_under_the_name_of_a_temporary_file_is_not_written_through(tmp_path, outside):
    run = tmp_path / "run"
    for name in (".resume.new", ".resume.old", ".config.json", f".config.json.{os.getpid()}", ".resume.new.x"):
        (run / name).symlink_to(outside.parent if name == ".resume.new.x" else outside)
    write(run / "config.json", b"{}")
    replace_folder(run / "resume", OLD)
    replace_folder(run / "resume", NEW)
    assert contents(run / "resume") == NEW
    assert outside.read_bytes() == b"secret"


def test_a_link_in_place_of_the_folder_is_replaced_itself(tmp_path, outside):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "resume").symlink_to(tmp_path / "elsewhere")
    replace_folder(tmp_path / "run" / "resume", NEW)
    assert contents(tmp_path / "run" / "resume") == NEW
    assert names(tmp_path / "elsewhere") == []


def test_lines_are_appended(tmp_path):
    for line in ("a", "é"):
        append(tmp_path / "log", tmp_path, line)
    assert (tmp_path / "log").read_text("utf-8") == "a\né\n"


# the folders of the user


@pytest.mark.parametrize(
    ("folder", "own", "standard", "usual"),
    [
        (cache_folder, "ELMAN_CACHE", "XDG_CACHE_HOME", ".cache/elman"),
        (state_folder, "ELMAN_STATE", "XDG_STATE_HOME", ".local/state/elman"),
    ],
)
def test_a_folder_of_the_user_is_the_one_of_the_environment(monkeypatch, tmp_path, folder, own, standard, usual):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv(own, str(tmp_path / "own"))
    assert folder() == tmp_path / "own"
    monkeypatch.delenv(own)
    monkeypatch.setenv(standard, str(tmp_path / "xdg"))
    assert folder() == tmp_path / "xdg" / "elman"
    monkeypatch.delenv(standard)
    monkeypatch.setattr(files.Path, "home", lambda: tmp_path / "home")
    assert folder() == tmp_path / "home" / usual


# what is printed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢 🙂\ttab\nline", "plain é 漢 🙂\ttab\nline"),
        ("\x1b[2J\x1b]0;title\x07", "�[2J�]0;title�"),
        ("\x9b31m\x00\x7f\r\b", "�31m����"),
        ("a\u202eb\u2066c", "a�b�c"),
        ("\ud800 half", "� half"),
    ],
)
def test_text_is_made_printable(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    shown.encode("utf-8")


def test_what_the_output_cannot_encode_is_replaced():
    assert printable("é漢\x1b", "latin-1") == "é??"
    assert printable("é", "ascii") == "?"


def test_a_message_is_one_line():
    assert one_line("a\nb\tc\r\nd\u2028e\x1b") == "a b c d e�"
    assert one_line("é\n", "ascii") == "? "
