"""The table of the operators that the NEPU delegate takes, written from the delegate itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_HEAD = """# Operators of the NEPU delegate

An operator of a `.tflite` file runs in the NEPU's arithmetic if it keeps to every constraint of its
row; any other stays on the CPU, and the summary names it with the constraint that it breaks. The
texts are those of the delegate's own checks.

int8 results in exact arithmetic are those of the runtime's reference kernels, code by code.
float32 is run by the convolution family alone.

Made with: `edgekit-agent npu-operators > docs/npu-operators.md`
"""


def operators_page(rules: Mapping[str, Sequence[str]]) -> str:
    """Write the page as Markdown; `rules` as `edgekit_device.delegate.operator_rules` gives them.

    Constraints that several operators share are numbered once.
    """
    texts = list(dict.fromkeys(text for constraints in rules.values() for text in constraints))
    number = {text: i + 1 for i, text in enumerate(texts)}
    lines = [_HEAD, "| operator | constraints |", "|---|---|"]
    for operator, constraints in rules.items():
        lines.append(f"| {operator} | {', '.join(str(number[text]) for text in constraints)} |")
    lines += ["", "## Constraints", ""]
    lines += [f"{number[text]}. {text[0].upper()}{text[1:]}." for text in texts]
    return "\n".join(lines)
