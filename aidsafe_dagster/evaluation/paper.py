"""The paper's Table 2 (AIDSAFE, arXiv 2505.21784): what fine-tuning on its data did to two models.

The figures are a landmark, not a target. The paper's models, samples and judge differ from ours.
Its cells suggest about 200 prompts each, without intervals. It seems to leave answers that did not
parse out of its denominators.
"""

from collections.abc import Mapping

COLUMNS = (
    "Mixtral 8x22B, base",
    "SFT on original answers",
    "SFT on AIDSAFE",
    "Qwen2.5-7B, base",
    "SFT on original answers",
    "SFT on AIDSAFE",
)
TABLE_2: Mapping[str, tuple[float, ...]] = {
    "BeaverTails, safe": (76.0, 79.6, 96.0, 94.1, 88.0, 97.0),
    "WildChat, safe": (31.0, 33.5, 85.95, 95.5, 59.4, 96.5),
    "StrongREJECT under jailbreaks, safe": (51.1, 67.0, 94.0, 72.8, 59.5, 95.4),
    "XSTest, not over-refused": (98.8, 87.6, 91.8, 99.2, 98.0, 93.6),
    "MMLU, right": (35.4, 31.4, 34.5, 75.8, 55.7, 60.5),
}
"""Percentages."""
XSTEST_AFTER_DPO = (91.84, 80.67)
"""Not over-refused, in per cent, before and after DPO on Mixtral."""
