"""A data set in Croissant 1.1, the JSON-LD in which data sets are described to search engines and loaders.

The format: MLCommons, Croissant Format Specification 1.1 (http://mlcommons.org/croissant/1.1). Described are files with their
digests, and the columns of tables. License, address, creator and date are required there and cannot be measured: they are
left out, for their owner to fill in.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from formtune.checks.described import Described, File, relative
from formtune.sources import stem_and_suffix

_SCHEMA_ORG = "https://schema.org/"  # the page of the format writes http; its reader, and the catalogs, want https
CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
_TERMS = (
    "annotation arrayShape citeAs column containedIn equivalentProperty excludes extract field fileObject"
    " fileProperty fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path"
    " readLines recordSet references regex repeated replace samplingRate sdVersion separator source"
    " subField transform unArchive value"
)
_FORMATS: Mapping[str, str] = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".jsonl": "application/jsonlines",
    ".ndjson": "application/jsonlines",
    ".json": "application/json",
    ".parquet": "application/x-parquet",
    ".txt": "text/plain",
}
_PACKED: Mapping[str, str] = {".gz": "application/gzip", ".bz2": "application/x-bzip2", ".zst": "application/zstd"}
_TABLES = frozenset({"text/csv", "text/tab-separated-values", "application/jsonlines", "application/x-parquet"})


def croissant_of(data: Described, folder: Path) -> dict[str, Any]:
    """Describe a data set as JSON-LD, for a folder from which its files are seen."""
    record_sets = [
        _record_set(file, relative(file.path, folder))
        for file in data.files
        if file.columns and _format(file) in _TABLES
    ]
    kinds = ", ".join(data.kinds)
    described = {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": data.name,
        "description": f"{data.n_records:,} records ({kinds}) in {len(data.files)} files.",
        "distribution": [_file_object(file, relative(file.path, folder)) for file in data.files],
        "recordSet": record_sets,
    }
    return {key: value for key, value in described.items() if value}


def _context() -> dict[str, Any]:
    plain = {term: f"cr:{term}" for term in _TERMS.split()}
    return {
        "@language": "en",
        "@vocab": _SCHEMA_ORG,
        "sc": _SCHEMA_ORG,
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
        **plain,
    }


def _file_object(file: File, path: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{file.size_bytes} B",
        "encodingFormat": _format(file),
        "sha256": file.sha256,
    }


def _record_set(file: File, path: str) -> dict[str, Any]:
    record_set = f"{file.part}/{path}"
    described: dict[str, Any] = {
        "@type": "cr:RecordSet",
        "@id": record_set,
        "name": record_set,
        "field": list(_fields(file, path, record_set=record_set)),
    }
    if file.nested:
        described["description"] = f"Columns that hold lists or objects are not described: {', '.join(file.nested)}."
    return described


def _fields(file: File, path: str, *, record_set: str) -> Iterator[dict[str, Any]]:
    for column, kind in file.columns.items():
        yield {
            "@type": "cr:Field",
            "@id": f"{record_set}/{column}",
            "name": column,
            "dataType": kind,
            "source": {"fileObject": {"@id": path}, "extract": {"column": column}},
        }


def _format(file: File) -> str:
    packed = next((kind for ending, kind in _PACKED.items() if file.path.endswith(ending)), None)
    return packed or _FORMATS.get(stem_and_suffix(file.path)[1], "application/octet-stream")
