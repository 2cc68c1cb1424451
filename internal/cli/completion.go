package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// completionVerb prints what switches completion on. The shells ask this very binary: they hand over the line in
// COMP_LINE, and Run answers it.
type completionVerb struct {
	Shell string `arg:"" optional:"" help:"bash, zsh or fish; without it, the one that SHELL names."`
}

// completionScripts are the lines for each shell; %[1]s is the binary's path, %[2]s the same for a shell that reads it
// twice: what follows -C is a command in itself.
func completionScripts() map[string]string {
	return map[string]string{
		"bash": "complete -C %[2]s orderflow\n",
		"zsh":  "autoload -U +X bashcompinit && bashcompinit\ncomplete -C %[2]s orderflow\n",
		// The blank stands for the word that has not been begun, should fish leave it out; a second one changes nothing.
		"fish": "function __orderflow_complete\n" +
			"    set -lx COMP_LINE (commandline -cp | string collect)\n" +
			"    test -z (commandline -ct | string collect); and set COMP_LINE \"$COMP_LINE \"\n" +
			"    %[1]s\nend\ncomplete -f -c orderflow -a '(__orderflow_complete)'\n",
	}
}

// Run prints the lines for one shell.
func (c completionVerb) Run(streams Streams) error {
	shell := c.Shell
	if shell == "" {
		shell = filepath.Base(environ(streams.Environ, "SHELL"))
	}
	script, known := completionScripts()[shell]
	if !known {
		return usageError{fmt.Errorf("there is no completion for the shell %q; say bash, zsh or fish", shell)}
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	once := quoted(binary)
	_, err = fmt.Fprintf(streams.Out, script, once, quoted(once))
	return err
}

// quoted is a path or an address as all three shells read it.
func quoted(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool { return !strings.ContainsRune("/:._-+", r) && !wordRune(r) }) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

func wordRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// environ is the value of a name in an environment, "" when it is not there.
func environ(entries []string, name string) string {
	i := slices.IndexFunc(entries, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
	if i < 0 {
		return ""
	}
	return entries[i][len(name)+1:]
}
