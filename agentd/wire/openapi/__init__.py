"""OpenAPI 3.1 of a face: made of its route table, its typed bodies, and a few words for each route. Pure.

    document.py   a Description and Routes -> the document
    schemas.py    attrs classes and types -> JSON Schema
    page.py       the document -> a page for people, in plain HTML
    mounts.py     both over HTTP

The rules: OpenAPI Specification 3.1.1 (https://spec.openapis.org/oas/v3.1.1.html).
"""
