"""Annotation files of images: each format is recognized by its content, and read as it was published."""

import io
import json
import zipfile

import pytest
from PIL import Image

import user_errors
from elman.data import split, table, table_reader
from elman.data.formats.format import FORMATS
from elman.data.table_reader import TableOptions
from elman.errors import UserError


def image(number):
    out = io.BytesIO()
    Image.new("RGB", (2, 3), (number, 0, 0)).save(out, "PNG")
    return out.getvalue()


def laid(where, files, zipped):
    """The files on disk or in a zip, and what begins the name of each."""
    if zipped:
        with zipfile.ZipFile(where / "set.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content if isinstance(content, bytes | str) else json.dumps(content))
        return f"{where / 'set.zip'}:"
    for name, content in files.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else
                         (content if isinstance(content, str) else json.dumps(content, indent=1)).encode())  # fmt: skip
    return f"{where}/"


def read(path, **options):
    return table_reader.read([str(path)], TableOptions(**options))


def fails(path, *words, **options):
    user_errors.fails(lambda: read(path, **options), *words)


def texts(got):
    return {name: [value if value is None else str(value) for value in column] for name, column in got.columns.items()}


def reds(got):
    return [each.image().getpixel((0, 0))[0] for each in got.columns["image"]]


def noted(got, *words):
    return any(all(word in note for word in words) for note in got.notes)


both = pytest.mark.parametrize("zipped", [False, True])


# COCO


def coco(**more):
    return {
        "info": {"year": 2017}, "licenses": [],
        "images": [{"id": 30 + n, "file_name": f"00{n}.png", "width": 2, "height": 3} for n in range(3)],
        "annotations": [
            {"image_id": 31, "id": 1, "caption": "A red thing.\n"}, {"image_id": 30, "id": 2, "caption": "Two things."},
            {"image_id": 31, "id": 3, "caption": "Another."},
        ],
    } | more  # fmt: skip


@both
@pytest.mark.parametrize("folder", ["train2017", "annotations/train2017", "images/train2017", "annotations",
                                    "annotations/images", "images"])  # fmt: skip
def test_coco(tmp_path, zipped, folder):
    files = {f"{folder}/00{n}.png": image(n) for n in range(3)}
    root = laid(tmp_path, files | {"annotations/captions_train2017.json": coco()}, zipped)
    got = read(f"{root}annotations/captions_train2017.json")
    assert texts(got) == {"image": ["001.png", "000.png", "001.png"],
                          "caption": ["A red thing.", "Two things.", "Another."]}  # fmt: skip
    assert reds(got) == [1, 0, 1]
    assert got.numbers == [1, 2, 3]
    assert got.columns["image"][0] is got.columns["image"][2]
    assert noted(got, "COCO captions, 3 rows")
    assert noted(got, "1 of 3 images have no caption")
    assert noted(got, "names 2 images, in ", f"{root}{folder}")


def test_images_of_coco_that_are_nowhere_and_where_they_were_searched(tmp_path):
    root = laid(tmp_path, {"annotations/captions_val2014.json": coco(), "far/val2014/000.png": image(0)}, False)
    path = f"{root}annotations/captions_val2014.json"
    fails(path, "row 1", "001.png", f"{root}val2014", f"{root}images/val2014", f"{root}annotations,", "`images`")
    for images in ("far", "far/val2014"):
        fails(path, "row 1 has an image", "001.png does not exist", images=f"{root}{images}")
        got = read(path, images=f"{root}{images}", skip_bad=True)
        assert texts(got)["image"] == ["000.png"]
        assert got.numbers == [2]
        assert noted(got, "2 bad rows skipped")


def test_annotations_of_coco_without_captions_are_refused(tmp_path):
    boxes = [{"image_id": 30, "id": 1, "bbox": [0, 0, 1, 1], "category_id": 3}]
    root = laid(tmp_path, {"instances.json": coco(annotations=boxes), "info.json": coco(annotations=None)}, False)
    fails(f"{root}instances.json", "no captions", "bbox", "captions_*.json")
    fails(f"{root}info.json", "is not a file of COCO captions", "annotations (image_id, caption)")


def test_entries_of_coco_that_are_not_whole(tmp_path):
    wrong = [{"image_id": 30, "caption": "good"}, {"caption": "none"}, {"image_id": 99, "caption": "which?"},
             {"image_id": 30, "caption": ["a"]}, "text", {"image_id": 30, "caption": "  "}]  # fmt: skip
    files = {"000.png": image(0)}
    root = laid(tmp_path, files | {f"c{n}.json": coco(annotations=[wrong[0], each]) for n, each in enumerate(wrong)},
                False)  # fmt: skip
    fails(f"{root}c1.json", "row 2 in annotations has no image_id that is an integer or a text", "`skip_bad`")
    fails(f"{root}c2.json", "row 2 is of image 99")
    fails(f"{root}c3.json", "row 2 in annotations has no caption that is a text")
    fails(f"{root}c4.json", "row 2 in annotations has no image_id")
    assert len(read(f"{root}c4.json", skip_bad=True)) == 1
    with pytest.raises(UserError, match="row 2 has no caption"):
        table.complete(read(f"{root}c5.json"), ["image", "caption"], False)


def test_two_images_of_coco_with_one_number(tmp_path):
    images = [{"id": 30, "file_name": "000.png"}, {"id": 30, "file_name": "001.png"}]
    captions = [{"image_id": 30, "caption": "Of which of the two?"}]
    files = {f"00{n}.png": image(n) for n in range(2)}
    root = laid(tmp_path, files | {"c.json": coco(images=images, annotations=captions)}, False)
    fails(f"{root}c.json", "c.json row 2 in images has the id 30 of another image", "`skip_bad`")
    got = read(f"{root}c.json", skip_bad=True)
    assert reds(got) == [0]
    assert noted(got, "1 bad row skipped")


# Karpathy


@both
def test_karpathy(tmp_path, zipped):
    parts = ["train", "restval", "val", "test"]
    images = [
        {"filename": f"{n}.png", "filepath": "val2014", "imgid": n, "split": part,
         "sentences": [{"raw": f"Caption {n} {k}.", "tokens": ["caption"]} for k in range(n)]}
        for n, part in enumerate(parts)
    ]  # fmt: skip
    files = {f"coco/val2014/{n}.png": image(n) for n in range(4)}
    root = laid(tmp_path, files | {"coco/dataset_coco.json": {"images": images, "dataset": "coco"}}, zipped)
    got = read(f"{root}coco/dataset_coco.json")
    assert texts(got) == {
        "image": ["1.png", "2.png", "2.png", "3.png", "3.png", "3.png"],
        "caption": ["Caption 1 0.", "Caption 2 0.", "Caption 2 1.", *(f"Caption 3 {k}." for k in range(3))],
        "split": ["train", "val", "val", "test", "test", "test"],
    }
    assert reds(got) == [1, 2, 2, 3, 3, 3]
    assert got.numbers == [2, 3, 3, 4, 4, 4]
    assert noted(got, "1 of 4 images have no caption")
    assert noted(got, "1 images of the split restval count as train")
    sizes = {name: len(part) for name, part in split.split(got, "image", TableOptions()).items()}
    assert sizes == {"train": 1, "valid": 2, "test": 3}


def test_karpathy_without_folders(tmp_path):
    one = {"filename": "7.png", "split": "train", "sentences": [{"raw": "A."}]}
    for folder in ("Images", "Flicker8k_Dataset"):
        here = tmp_path / folder
        root = laid(here, {"dataset_flickr8k.json": {"images": [one]}, f"{folder}/7.png": image(7)}, False)
        assert reds(read(f"{root}dataset_flickr8k.json")) == [7]


# Flickr8k


CAPTIONS = "".join(f"{n}_ab.jpg#{k}\tA child {n} {k} .\n" for n in range(4) for k in range(2))


def flickr(*lists):
    names = {"train": "Flickr_8k.trainImages.txt", "dev": "Flickr_8k.devImages.txt",
             "test": "Flickr_8k.testImages.txt"}  # fmt: skip
    files = {names[part]: f"{n}_ab.jpg\n" for n, part in enumerate(("train", "dev", "test")) if part in lists}
    return files | {"Flickr8k.token.txt": CAPTIONS, **{f"Flicker8k_Dataset/{n}_ab.jpg": image(n) for n in range(4)}}


@both
def test_flickr8k(tmp_path, zipped):
    got = read(laid(tmp_path, flickr(), zipped) + "Flickr8k.token.txt")
    assert texts(got) == {"image": [f"{n}_ab.jpg" for n in range(4) for _ in "ab"],
                          "caption": [f"A child {n} {k} ." for n in range(4) for k in range(2)]}  # fmt: skip
    assert reds(got) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert got.numbers == list(range(1, 9))


@both
def test_flickr8k_with_its_lists(tmp_path, zipped):
    got = read(laid(tmp_path, flickr("train", "dev", "test"), zipped) + "Flickr8k.token.txt")
    assert got.columns["split"] == ["train"] * 2 + ["valid"] * 2 + ["test"] * 2
    assert reds(got) == [0, 0, 1, 1, 2, 2]
    assert noted(got, "1 images are in none of the lists")
    assert noted(got, "Flickr_8k.devImages.txt")


def test_flickr8k_with_only_a_list_of_the_test_split(tmp_path):
    got = read(laid(tmp_path, flickr("test"), False) + "Flickr8k.token.txt")
    assert got.columns["split"] == ["train"] * 4 + ["test"] * 2 + ["train"] * 2


def test_lines_of_flickr8k_that_are_not_whole(tmp_path):
    files = flickr() | {"bad.txt": CAPTIONS + "no caption here\n"}
    path = laid(tmp_path, files, False) + "bad.txt"
    fails(path, "row 9 is not an image, # and a number", format="flickr8k")
    assert len(read(path, format="flickr8k", skip_bad=True)) == 8
    (tmp_path / "pairs.txt").write_text("one#1\tun\ntwo#2\tdeux\n")
    assert list(read(tmp_path / "pairs.txt").columns) == ["1", "2"]  # no images


# VQA


def vqa(folder="", images="train2014", answers=True):
    questions = {"data_type": "mscoco", "data_subtype": "train2014", "questions": [
        {"image_id": 5, "question": "What is it?", "question_id": 50},
        {"image_id": 123456, "question": " Is it red? ", "question_id": 60},
    ]}  # fmt: skip
    annotations = {"annotations": [
        {"question_id": 60, "image_id": 123456, "multiple_choice_answer": "yes", "answer_type": "yes/no",
         "question_type": "is it", "answers": [{"answer": "yes", "answer_id": 1}]},
        {"question_id": 50, "image_id": 5, "multiple_choice_answer": "cup", "answer_type": "other",
         "question_type": "what is", "answers": []},
    ]}  # fmt: skip
    files = {f"{images}/COCO_train2014_000000000005.jpg": image(5),
             f"{images}/COCO_train2014_000000123456.jpg": image(6),
             "Questions/v2_OpenEnded_mscoco_train2014_questions.json": questions}  # fmt: skip
    return files | ({f"{folder}/v2_mscoco_train2014_annotations.json": annotations} if answers else {})


@both
@pytest.mark.parametrize("folder", ["Questions", "Annotations"])
@pytest.mark.parametrize("images", ["train2014", "Images/mscoco/train2014", "Questions", "images/train2014"])
def test_vqa(tmp_path, zipped, folder, images):
    root = laid(tmp_path, vqa(folder, images), zipped)
    got = read(f"{root}Questions/v2_OpenEnded_mscoco_train2014_questions.json")
    assert texts(got) == {
        "image": ["COCO_train2014_000000000005.jpg", "COCO_train2014_000000123456.jpg"],
        "question": ["What is it?", "Is it red?"], "answer": ["cup", "yes"], "kind": ["other", "yes/no"],
    }  # fmt: skip
    assert reds(got) == [5, 6]
    assert noted(got, "the answers are in ", f"{folder}/v2_mscoco_train2014_annotations.json")


def test_vqa_without_answers_and_answers_alone(tmp_path):
    root = laid(tmp_path, vqa(answers=False), False)
    got = read(f"{root}Questions/v2_OpenEnded_mscoco_train2014_questions.json")
    assert list(got.columns) == ["image", "question"]
    assert noted(got, "no v2_mscoco_train2014_annotations.json next to it")
    root = laid(tmp_path, vqa("Annotations"), False)
    fails(f"{root}Annotations/v2_mscoco_train2014_annotations.json", "has answers", "v2_OpenEnded_*_questions.json")


def test_questions_of_vqa_without_an_answer_are_counted(tmp_path):
    files = vqa("Questions")
    del files["Questions/v2_mscoco_train2014_annotations.json"]["annotations"][0]
    got = read(laid(tmp_path, files, False) + "Questions/v2_OpenEnded_mscoco_train2014_questions.json")
    assert got.columns["answer"] == ["cup", None]
    assert noted(table.complete(got, ["answer"], True), "1 bad row skipped", "row 2 has no answer")


# CLEVR


def clevr(*splits, **more):
    questions = [
        {"image_filename": f"CLEVR_{part}_00000{n}.png", "question": f"How many {n}?", "answer": str(n), "split": part,
         "question_family_index": 1, "image_index": n, **more}
        for n, part in enumerate(splits)
    ]  # fmt: skip
    files = {f"images/{part}/CLEVR_{part}_00000{n}.png": image(n) for n, part in enumerate(splits)}
    return files | {"questions/CLEVR_questions.json": {"info": {}, "questions": questions}}


@both
def test_clevr(tmp_path, zipped):
    program = [{"function": "scene", "inputs": []}, {"function": "count", "inputs": [0]}]
    got = read(laid(tmp_path, clevr("train", "train", program=program), zipped) + "questions/CLEVR_questions.json")
    assert texts(got) == {"image": ["CLEVR_train_000000.png", "CLEVR_train_000001.png"],
                          "question": ["How many 0?", "How many 1?"], "answer": ["0", "1"],
                          "kind": ["count", "count"]}  # fmt: skip
    assert reds(got) == [0, 1]


def test_clevr_of_several_splits_and_without_programs_or_answers(tmp_path):
    got = read(laid(tmp_path, clevr("train", "val"), False) + "questions/CLEVR_questions.json")
    assert got.columns["split"] == ["train", "val"]
    assert "kind" not in got.columns
    assert reds(got) == [0, 1]
    got = read(laid(tmp_path, clevr("test", answer=None), False) + "questions/CLEVR_questions.json")
    assert list(got.columns) == ["image", "question"]


# easy-VQA


def easy(top=""):
    files = {f"{top}{part}/images/{n}.png": image(n + 10 * (part == "test"))
             for part in ("train", "test") for n in range(2)}  # fmt: skip
    asked = {"train": [["what colour?", "blue", 1], ["is it?", "yes", 0]], "test": [["what?", "circle", 1]]}
    return files | {f"{top}{part}/questions.json": entries for part, entries in asked.items()} | {"answers.txt": "yes"}


@both
def test_easy_vqa(tmp_path, zipped):
    root = laid(tmp_path, easy(), zipped)
    got = read(root.removesuffix(":"))
    assert texts(got) == {
        "image": ["train/images/1.png", "train/images/0.png", "test/images/1.png"],
        "question": ["what colour?", "is it?", "what?"], "answer": ["blue", "yes", "circle"],
        "split": ["train", "train", "test"],
    }  # fmt: skip
    assert reds(got) == [1, 0, 11]
    assert got.where(2) == f"{root}test/questions.json row 1"
    assert noted(got, "names 3 images, in ", f"{root}train/images and 1 other folders")
    alone = read(f"{root}test/questions.json")
    assert texts(alone) == {"image": ["test/images/1.png"], "question": ["what?"], "answer": ["circle"]}
    assert reds(alone) == [11]


def test_entries_of_easy_vqa_that_are_not_whole(tmp_path):
    files = easy() | {"train/questions.json": [["what?", "blue", 1], ["what?", "blue"], [1, "a", 0], ["a", "b", "c"]]}
    root = laid(tmp_path, files, False)
    fails(root, "train/questions.json row 2 is not [question, answer, number of the image]")
    assert len(read(root, skip_bad=True)) == 2
    files["train/questions.json"] = [["what?", "blue", 77], *easy()["train/questions.json"]]
    root = laid(tmp_path, files, False)
    fails(root, "train/questions.json row 1 has an image", "77.png does not exist")
    assert noted(read(root, skip_bad=True), "1 bad row skipped")


# all of them


def test_other_json_is_what_it_was(tmp_path):
    kept = {"objects.json": [{"text": "a", "label": "b"}], "one.json": '{"text": "a", "label": "b"}\n',
            "lines.json": '{"text": "a", "label": "b"}\n{"text": "c", "label": "d"}\n'}  # fmt: skip
    root = laid(tmp_path, kept, False)
    for name in kept:
        assert read(root + name).format == "jsonl"


def test_a_zip_of_many_members_that_is_no_set_is_reported_with_its_members(tmp_path):
    laid(tmp_path, {"a.csv": "x,y\n1,2\n", "b.csv": "x,y\n1,2\n"}, True)
    for form in ("auto", "csv", "coco"):
        fails(tmp_path / "set.zip", *(["2 members", "a.csv, b.csv", "set.zip:MEMBER"] if form != "coco" else []),
              format=form)  # fmt: skip


@pytest.mark.parametrize("form", ["coco", "karpathy", "vqa", "clevr", "easy-vqa"])
@pytest.mark.parametrize("content", ['{"other": []}', "[1, 2]", "no JSON", '{"images": {}, "questions": 3}', "[[1]]"])
def test_a_format_that_the_file_does_not_have(tmp_path, form, content):
    path = laid(tmp_path, {"x.json": content}, False) + "x.json"
    fails(path, "x.json", format=form)
    if content != "[[1]]":
        fails(path, "x.json is not ", "expected", format=form)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings_of_annotations(tmp_path, encoding):
    (tmp_path / "c.json").write_text(json.dumps(coco(), ensure_ascii=False), encoding)
    for n in range(3):
        (tmp_path / f"00{n}.png").write_bytes(image(n))
    assert read(tmp_path / "c.json", encoding="utf-8" if encoding != "utf-16" else encoding).format == "coco"


def test_a_split_in_its_own_file_is_read_in_its_own_format(tmp_path):
    """`valid` may be a file in another format, which its content decides."""
    root = laid(tmp_path, flickr() | {"more.csv": "image,caption\nFlicker8k_Dataset/3_ab.jpg,c\n"}, False)
    first = read(f"{root}Flickr8k.token.txt")
    parts = split.split(first, "image", TableOptions(valid=f"{root}more.csv"), ["caption"])
    assert texts(parts["valid"])["caption"] == ["c"]
    assert FORMATS.all()["flickr8k"].phrase in first.notes[0]
    root = laid(tmp_path, {"train2017/001.png": image(1), "train2017/000.png": image(0),
                           "captions_train2017.json": coco()}, False)  # fmt: skip
    like = read(f"{root}captions_train2017.json")
    assert len(table_reader.read([f"{root}Flickr8k.token.txt"], TableOptions(), like=like)) == 8
