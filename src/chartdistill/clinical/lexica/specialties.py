"""Specialties, as sites file charts under them."""

from __future__ import annotations

SPECIALTIES = (
    "cardiovascular / pulmonary",
    "general medicine",
    "orthopedic",
    "neurology",
    "gastroenterology",
    "urology",
    "soap / chart / progress notes",
    "consult - history and phy.",
    "surgery",
    "discharge summary",
)
