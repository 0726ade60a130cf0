"""The audit of a panel, before any figure: closes that are not taken at one moment, and data that mislead."""

from __future__ import annotations

from qn_env.panel_audit.audit import audit_panel
from qn_env.panel_audit.cross_autocorrelation import CrossAutocorrelation, cross_autocorrelations
from qn_env.panel_audit.report import Finding, PanelAudit

__all__ = ["CrossAutocorrelation", "Finding", "PanelAudit", "audit_panel", "cross_autocorrelations"]
