package deploy

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// command runs a program that must succeed and returns all it says.
func command(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Env = env
	said, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, said)
	}
	return string(said)
}

// systemd understands every line of the units and finds little that they could do without.
func TestUnits(t *testing.T) {
	t.Parallel()
	const checker = "systemd-analyze" //nolint:misspell // its name
	dir := t.TempDir()
	for file, instance := range map[string]string{"orderflow.service": "", "orderflow@.service": "orderflow@api.service"} {
		path := write(t, dir, file, changed(t, read(t, "deploy/systemd/"+file), "/usr/local/bin/orderflow", binary(t)))
		verified := path
		if instance != "" {
			verified = filepath.Join(dir, instance)
		}
		if said := command(t, nil, checker, "verify", "--man=no", verified); said != "" {
			t.Errorf("%s: %s", file, said)
		}
		// On a scale from 0, everything is closed to it, to 10 (times ten: this is the threshold's unit).
		command(t, nil, checker, "security", "--offline=true", "--threshold=20", "--no-pager", path)
		for _, line := range []string{"TimeoutStopSec=35\n", "KillMode=mixed\n", "Restart=always\n", "DynamicUser=yes\n"} {
			if !strings.Contains(read(t, "deploy/systemd/"+file), line) {
				t.Errorf("%s has no %q", file, line)
			}
		}
	}
}
