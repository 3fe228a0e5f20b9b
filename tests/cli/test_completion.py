"""`mles-tx completion`."""

import shutil
import subprocess
from contextlib import redirect_stdout
from io import StringIO

from twisted.python import usage
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mles_tx.cli.completion import SHELLS, CompletionOptions, parser_for
from mles_tx.cli.main import _Options, main


class CompletionTests(SynchronousTestCase):
    """What is completed."""

    def script(self, shell: str) -> str:
        """The script for a shell."""
        out = StringIO()
        with redirect_stdout(out):
            self.assertEqual(self.assertRaises(SystemExit, main, ["completion", shell]).code, 0)
        return out.getvalue()

    def test_all(self) -> None:
        """Every command and option stands in the script of every shell."""
        for shell in SHELLS:
            script = self.script(shell)
            for word in ("doctor", "install-unit", "import", "secret-file", "rate-limit", "ask-secret"):
                self.assertIn(word, script, shell)

    def test_options(self) -> None:
        """The options are those of the commands, one for one."""
        parser = parser_for(_Options)
        text = parser.format_help()
        for row in _Options.subCommands:
            self.assertIn(str(row[0]), text)

    def test_bad(self) -> None:
        """There are three shells."""
        error = self.assertRaises(usage.UsageError, CompletionOptions().parseOptions, ["tcsh"])
        self.assertEqual(str(error), "'tcsh': give bash, zsh or fish")

    def test_bash(self) -> None:
        """In bash a beginning is completed."""
        if shutil.which("bash") is None:
            raise SkipTest("there is no bash")
        for words, index, found in (("mles-tx su", 1, "sub"), ("mles-tx sub --js", 2, "--json")):
            program = (
                self.script("bash")
                + f"\nCOMP_WORDS=({words}); COMP_CWORD={index}; COMP_LINE='{words}'; COMP_POINT={len(words)}\n"
                + f"$(complete -p mles-tx | sed 's/.*-F \\([^ ]*\\).*/\\1/') mles-tx '{words.split()[-1]}'\n"
                + 'printf "%s\\n" "${COMPREPLY[@]}"\n'
            )
            ran = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True, check=False)
            self.assertIn(found, ran.stdout.split(), ran.stderr)
