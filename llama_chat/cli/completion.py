"""`llama-chat completion SHELL`: the script that lets a shell complete words, and its questions answered."""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any, ClassVar

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    shell_complete,
    split_arg_string,
)

PROGRAM = "llama-chat"
VARIABLE = "_LLAMA_CHAT_COMPLETE"
SHELLS = ("bash", "zsh", "fish", "powershell")

_POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName %(prog_name)s -ScriptBlock {
    param($word, $commandLine, $cursor)
    $before = $env:%(complete_var)s, $env:COMP_WORDS, $env:COMP_CWORD
    try {
        $elements = $commandLine.CommandElements | Where-Object { $_.Extent.StartOffset -lt $cursor }
        $env:COMP_WORDS = ($elements | ForEach-Object { $_.Extent.Text }) -join "`n"
        $env:COMP_CWORD = $word
        $env:%(complete_var)s = 'powershell_complete'
        $answers = @(& %(prog_name)s 2>$null)
    } finally {
        $env:%(complete_var)s, $env:COMP_WORDS, $env:COMP_CWORD = $before
    }
    foreach ($answer in $answers) {
        $kind, $value, $help = $answer -split "`t", 3
        if ($kind -eq 'plain') {
            [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $help)
        } else {
            [System.Management.Automation.CompletionCompleters]::CompleteFilename($word)
        }
    }
}
"""


class PowerShellComplete(ShellComplete):
    """Completion for PowerShell 5.1 and later; click has its own from 8.5 on only."""

    name: ClassVar[str] = "powershell"
    source_template: ClassVar[str] = _POWERSHELL

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one under the cursor, and that one."""
        words = split_arg_string(os.environ["COMP_WORDS"])[1:]
        incomplete = "".join(split_arg_string(os.environ.get("COMP_CWORD", ""))[:1])
        if incomplete and words and words[-1] == incomplete:
            words.pop()
        return words, incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """One line: what it is, the word, what it means."""
        help_text = " ".join((item.help or "").split())
        return f"{item.type}\t{item.value}\t{help_text or item.value or ' '}"


add_completion_class(PowerShellComplete)


@click.command(short_help="The script for your shell that completes words.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    r"""Print the script that lets SHELL complete commands, options, models, sessions and themes.

    \b
    bash        llama-chat completion bash > ~/.local/share/bash-completion/completions/llama-chat
    zsh         llama-chat completion zsh > "${fpath[1]}/_llama-chat"
    fish        llama-chat completion fish > ~/.config/fish/completions/llama-chat.fish
    powershell  llama-chat completion powershell | Out-String | Invoke-Expression   (in $PROFILE)
    """
    click.echo(script(ctx.find_root().command, shell), nl=False)


def script(command: click.Command, shell: str) -> str:
    """The script for a shell, which need not be there; click's own way would look for it, and say so."""
    found = get_completion_class(shell)
    assert found is not None
    return ShellComplete.source(found(command, {}, PROGRAM, VARIABLE))


def complete(command: click.Command, instruction: str) -> int:
    """Answer the script of a shell on stdout; in silence, where it goes wrong: somebody is typing."""
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            return shell_complete(command, {}, PROGRAM, VARIABLE, instruction)
        except Exception:  # whatever it is, the command itself says it better
            return 1
