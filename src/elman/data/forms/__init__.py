"""The forms that a table may have on disk. To add one, add it to `FORMS`; the order is that in which they are tried."""

from elman.data.content import Content
from elman.data.forms.arrays import ARRAYS
from elman.data.forms.clevr import CLEVR
from elman.data.forms.coco import COCO
from elman.data.forms.conll import CONLL, CONLLU
from elman.data.forms.easy_vqa import EASY_VQA
from elman.data.forms.flickr import FLICKR
from elman.data.forms.folders import FILES, FOLDERS, form_of
from elman.data.forms.form import Form
from elman.data.forms.karpathy import KARPATHY
from elman.data.forms.library import PARQUET
from elman.data.forms.lines import LABELLED, LINES
from elman.data.forms.records import JSONL
from elman.data.forms.separated import CSV, PAIRS, TSV
from elman.data.forms.vqa import VQA

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
