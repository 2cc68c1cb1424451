package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// completionCommand prints the script that turns completion on. The script calls this binary with the line in COMP_LINE, and
// kongplete answers. The script of kongplete itself is only for the log-in shell and does not quote the path of the binary.
type completionCommand struct {
	Shell string `arg:"" optional:"" help:"bash, zsh or fish (default: the shell in SHELL)."`
}

// completionScripts returns the script of each shell. %[1]s is the quoted path of the binary; %[2]s is quoted again, since
// complete -C takes a command line.
func completionScripts() map[string]string {
	return map[string]string{
		"bash": "complete -C %[2]s orderflow\n",
		"zsh":  "autoload -U +X bashcompinit && bashcompinit\ncomplete -C %[2]s orderflow\n",
		// A space at the end stands for a word that has not been begun. fish leaves it out; a second space has no effect.
		"fish": "function __orderflow_complete\n" +
			"    set -lx COMP_LINE (commandline -cp | string collect)\n" +
			"    test -z (commandline -ct | string collect); and set COMP_LINE \"$COMP_LINE \"\n" +
			"    %[1]s\nend\ncomplete -f -c orderflow -a '(__orderflow_complete)'\n",
	}
}

// Run prints the script of one shell.
func (c completionCommand) Run(streams Streams) error {
	shell := c.Shell
	if shell == "" {
		shell = filepath.Base(environ(streams.Environ, "SHELL"))
	}
	script, known := completionScripts()[shell]
	if !known {
		return usageError{fmt.Errorf("there is no completion for the shell %q; choose bash, zsh or fish", shell)}
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	once := shellQuote(binary)
	_, err = fmt.Fprintf(streams.Out, script, once, shellQuote(once))
	return err
}

// shellQuote quotes a path or an address for all three shells.
func shellQuote(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool { return !strings.ContainsRune("/:._-+", r) && !wordRune(r) }) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

func wordRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// environ returns the value of a name in an environment, or "".
func environ(entries []string, name string) string {
	i := slices.IndexFunc(entries, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
	if i < 0 {
		return ""
	}
	return entries[i][len(name)+1:]
}
