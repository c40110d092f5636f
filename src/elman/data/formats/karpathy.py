"""Captions with their parts, as Karpathy's split has them: https://cs.stanford.edu/people/karpathy/deepimagesent."""

from elman.data.content import Content
from elman.data.formats.flickr import FOLDERS
from elman.data.formats.format import Form, How, Images, Rows
from elman.data.formats.json_document import TEXT, first, log_bare, records, stripped, wanted, whole
from elman.data.split_names import SPLIT

EXPECTED = "file of a Karpathy split: expected images (filename, split, sentences with raw)"
MORE = {"restval": "train"}  # what COCO's own validation part has beyond 10,000 pictures


def _knows(content: Content, encoding: str) -> bool:
    return {"filename", "sentences"} <= first(content.document(encoding), "images").keys()


def _read(content: Content, how: How) -> Rows:
    """The number of a row is that of its picture."""
    document = wanted(content, how, "images", EXPECTED)
    columns, numbers = {"image": list[str](), "caption": list[str | None](), SPLIT: list[str]()}, list[int]()
    paths, bare, rest = dict[str, str](), 0, 0
    for number, image in records(content, how, document, "images", filename=str, split=str, sentences=list):
        name, named = image["filename"], image["split"]
        paths[name] = f"{image.get('filepath') or '.'}/{name}"
        bare, rest = bare + (not image["sentences"]), rest + (named in MORE)
        for sentence in image["sentences"]:
            if whole(content, how, "in sentences", number, sentence, {"raw": TEXT}):
                columns["image"].append(name)
                columns["caption"].append(stripped(sentence["raw"]))
                columns[SPLIT].append(MORE.get(named, named))
                numbers.append(number)
    log_bare(content, how, bare, len(paths))
    if rest:
        how.notes.append(f"{content.name}: {rest:,} images of the part restval count as train")
    return Rows(columns, numbers, images=Images(folders=FOLDERS, paths=paths))


KARPATHY = Form("karpathy", "captions of a Karpathy split", _read, knows=_knows)
