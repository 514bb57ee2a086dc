"""Audits: does a feature set or a strategy keep the laws of causality; certificates, and who has one.

lab = Lab(Subject(kind="features", name="mine", cls=Mine, config=MineConfig()))
certificate = certify(lab, conduct(lab), date="2026-01-01T00:00:00Z")
"""

from __future__ import annotations

from slt.audit.admission import check_certificates, uncertified
from slt.audit.certificates import Certificate, certify, find_certificate, plugin_hash
from slt.audit.conduct import LAWS, Judged, conduct, passed
from slt.audit.findings import Example, Finding
from slt.audit.laws import Lab
from slt.audit.leaks import leaks
from slt.audit.subject import AUDITED_KINDS, Market, PluginFaultError, Subject
from slt.audit.walks import Walk, make_walk

__all__ = [
    "AUDITED_KINDS",
    "LAWS",
    "Certificate",
    "Example",
    "Finding",
    "Judged",
    "Lab",
    "Market",
    "PluginFaultError",
    "Subject",
    "Walk",
    "certify",
    "check_certificates",
    "conduct",
    "find_certificate",
    "leaks",
    "make_walk",
    "passed",
    "plugin_hash",
    "uncertified",
]
