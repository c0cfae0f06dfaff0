"""What chat templates may say beyond plain jinja2, and how it is compiled to code that keeps count."""

from __future__ import annotations

from typing import Any

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from llama_chat.errors import TemplateError


class GenerationTag(Extension):
    """`{% generation %}`, by which some templates mark the replies to train on: the body as it stands."""

    tags = {"generation"}  # noqa: RUF012  (as jinja2 declares it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The body's own nodes."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class SafeNamespace(Namespace):
    """jinja2's namespace without names like `__html__`, which code outside of the sandbox would obey."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # no `self`: a template may have a value of that name
        attributes = dict(*args[1:], **kwargs)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(args[0], attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if str(name).startswith("_"):
        raise TemplateError("The model's chat template uses names that begin with an underscore")


class CountingNodes(NodeTransformer):
    """Sends what jinja2 compiles to bare Python, and what can grow, through filters that keep count."""

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:  # noqa: N802  (jinja2's way of naming)
        """The text between the tags: like a value that is written, it passes `finalize`."""
        return nodes.Const(node.data)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """`a ~ b`."""
        return self._through("joined", nodes.List(self._visited(node).nodes))

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        """`[a, b]`."""
        return self._through("weighed", self._visited(node))

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        """`{a: b}`."""
        return self._through("weighed", self._visited(node))

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        """`(a, b)`, unless it is assigned to."""
        return self._through("weighed", self._visited(node)) if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """`a[b:c]`, which copies."""
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        ends = [node.arg.start, node.arg.stop, node.arg.step]
        return self._through("sliced", node.node, *(end or nodes.Const(None) for end in ends))

    def _visited(self, node: Any) -> Any:
        return self.generic_visit(node)

    def _through(self, name: str, value: nodes.Expr, *arguments: nodes.Expr) -> nodes.Node:
        return nodes.Filter(value, name, list(arguments), [], None, None)
