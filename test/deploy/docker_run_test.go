package deploy

import (
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"orderflow/test/env"
)

// dockerRun is the documented command that starts one container.
type dockerRun struct{ port, volume, image, arguments string }

// documentedRun reads the command from README.md.
func documentedRun(t *testing.T) dockerRun {
	t.Helper()
	line := regexp.MustCompile(`(?m)^docker run -p 127\.0\.0\.1:\d+:(\d+) -v \w+:(\S+) (\w+) (.*)$`)
	found := line.FindStringSubmatch(read(t, "README.md"))
	if found == nil {
		t.Fatal("README.md has no docker run line that this test can read")
	}
	return dockerRun{port: found[1], volume: found[2], image: found[3], arguments: found[4]}
}

// TestDockerRun starts the binary as `docker run` of README.md starts the image: with the image's environment and the arguments of
// the line. Docker itself runs the line in CI.
func TestDockerRun(t *testing.T) {
	t.Parallel()
	run := documentedRun(t)
	image := map[string]string{}
	for _, i := range instructions(t) {
		if i.stage == "server" {
			image[i.name] = i.rest
		}
	}
	if want := `["orderflow"]`; image["ENTRYPOINT"] != want {
		t.Fatalf("the image's entry point is %s, want %s", image["ENTRYPOINT"], want)
	}
	if image["VOLUME"] != run.volume {
		t.Errorf("README.md mounts %s, and the image's volume is %s", run.volume, image["VOLUME"])
	}
	if !slices.Contains(strings.Fields(image["EXPOSE"]), run.port) {
		t.Errorf("README.md publishes port %s, and the image exposes %s", run.port, image["EXPOSE"])
	}
	if build := "\ndocker build -t " + run.image + " .\n"; !strings.Contains(read(t, "README.md"), build) {
		t.Errorf("README.md runs the image %s and does not build it", run.image)
	}
	line := "docker run -p 127.0.0.1:8000:8000 -v orderflow:/data " + run.image + " " + run.arguments
	if !strings.Contains(read(t, "deploy/README.md"), "\n"+line+"\n") {
		t.Errorf("deploy/README.md does not have the line %q", line)
	}
	if inCI := strings.Replace(line, "docker run ", "docker run --detach --name single ", 1); !strings.Contains(read(t, ".github/workflows/ci.yml"), inCI) {
		t.Errorf("CI does not run %q", inCI)
	}

	settings := strings.NewReplacer("0.0.0.0:"+run.port, "0.0.0.0:0", "0.0.0.0:8080", "0.0.0.0:0", "sqlite:"+run.volume, "sqlite:"+t.TempDir()).
		Replace(image["ENV"])
	var environ []string
	for setting := range strings.FieldsSeq(settings) {
		if !strings.HasPrefix(setting, "PATH=") {
			environ = append(environ, setting)
		}
	}
	p := start(t, environment(t, environ...), binary(t), strings.Fields(run.arguments)...)
	if _, err := p.Ready(); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the server announces sample data", func() bool { return p.Log.After("  Samples  ") != "" })
	if err := p.Stop(syscall.SIGTERM); err != nil {
		t.Errorf("after SIGTERM the server ended with %v", err)
	}
}
