package cli

import (
	"embed"
	"strings"

	"github.com/alecthomas/kong"
)

//go:embed help.txt
var helpFile embed.FS

// details returns the texts below the first line of each command's help: what the user has to know, and examples. In help.txt each follows
// the name of its command. Indented lines are not wrapped.
func details() (map[string]string, error) {
	file, err := helpFile.ReadFile("help.txt")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for text := range strings.SplitSeq("\n"+string(file), "\n# ") {
		command, detail, _ := strings.Cut(text, "\n")
		all[command] = strings.TrimSpace(detail)
	}
	delete(all, "")
	return all, nil
}

// addDetails sets the details of every command.
func addDetails(k *kong.Kong) error {
	all, err := details()
	if err != nil {
		return err
	}
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if command, ok := node.(*kong.Node); ok && command.Type == kong.CommandNode {
			path := command.Path()
			if rest, former := strings.CutPrefix(path, "jobs"); former {
				path = "failed-jobs" + rest
			}
			command.Detail = all[path]
		}
		return next(nil)
	})
}
