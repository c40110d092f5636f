"""The forms that a table may have on disk. To add one, add it to `FORMS`; the order is that in which they are tried."""

from elman.data.content import Content
from elman.data.formats.arrays import ARRAYS
from elman.data.formats.clevr import CLEVR
from elman.data.formats.coco import COCO
from elman.data.formats.conll import CONLL, CONLLU
from elman.data.formats.easy_vqa import EASY_VQA
from elman.data.formats.flickr import FLICKR
from elman.data.formats.folders import FILES, FOLDERS, form_of
from elman.data.formats.format import Form
from elman.data.formats.karpathy import KARPATHY
from elman.data.formats.library import PARQUET
from elman.data.formats.lines import LABELLED, LINES
from elman.data.formats.records import JSONL
from elman.data.formats.separated import CSV, PAIRS, TSV
from elman.data.formats.vqa import VQA

FORMS = {
    form.name: form
    for form in (
        KARPATHY, COCO, VQA, CLEVR, EASY_VQA, FLICKR,
        JSONL, CONLL, CONLLU, PAIRS, LABELLED, CSV, TSV, PARQUET, ARRAYS, FILES, FOLDERS, LINES,
    )
}  # fmt: skip


def recognise(content: Content, encoding: str, like: str | None = None) -> Form:
    """The form that knows the content or has its suffix, else the one that another file had (`like`), else the first
    that fits the lines."""
    for form in FORMS.values():
        if form.knows and form.knows(content, encoding):
            return form
    if content.data is None and content.archive is None:
        return form_of(content)
    for form in FORMS.values():
        if content.path.suffix.lower() in form.suffixes:
            return form
    if like is not None and not FORMS[like].folder and not FORMS[like].knows:
        return FORMS[like]
    lines = content.lines(encoding)
    return next(form for form in FORMS.values() if form.fits and form.fits(lines))
