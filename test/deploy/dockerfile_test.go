package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func exists(name string) bool {
	_, err := os.Stat(filepath.Join(repository, name))
	return err == nil
}

// instruction is one of a Dockerfile, in the stage that it belongs to.
type instruction struct{ stage, name, rest string }

// instructions reads a Dockerfile.
func instructions(t *testing.T) (all []instruction) {
	t.Helper()
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(read(t, "Dockerfile"), "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	known := strings.Fields("ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK RUN STOPSIGNAL USER VOLUME WORKDIR")
	stage := ""
	for line := range strings.SplitSeq(text, "\n") {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		if !slices.Contains(known, name) {
			t.Errorf("the Dockerfile says %q: is that an instruction?", line)
		}
		if name == "FROM" {
			_, after, found := strings.Cut(rest, " AS ")
			if !found {
				t.Errorf("a stage has no name: %s", line)
			}
			stage = after
		}
		all = append(all, instruction{stage, name, strings.TrimSpace(rest)})
	}
	return all
}

// Both images run as a user without rights, say how they are, and stop by SIGTERM; the small one, the last, holds nothing else.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	all := instructions(t)
	has := func(stage, name, part string) {
		t.Helper()
		if !slices.ContainsFunc(all, func(i instruction) bool { return i.stage == stage && i.name == name && strings.Contains(i.rest, part) }) {
			t.Errorf("the image %s has no %s %s", stage, name, part)
		}
	}
	if last := all[len(all)-1]; last.stage != "server" {
		t.Errorf("without a target the image is %s", last.stage)
	}
	has("build", "RUN", "CGO_ENABLED=0")
	has("build", "RUN", "-trimpath")
	has("build", "RUN", "-X main.version=$VERSION")
	has("server", "FROM", "scratch ")
	has("worker", "FROM", "debian:")
	has("worker", "FROM", "-slim ")
	for _, stage := range []string{"server", "worker"} {
		has(stage, "USER", "65532:65532")
		has(stage, "HEALTHCHECK", "health")
		has(stage, "STOPSIGNAL", "SIGTERM")
		has(stage, "ENTRYPOINT", "[")
	}
	for _, i := range all {
		if i.name == "FROM" && !strings.HasPrefix(i.rest, "scratch ") && (!strings.Contains(i.rest, ":") || strings.Contains(i.rest, ":latest")) {
			t.Errorf("FROM %s says no version", i.rest)
		}
		if i.name != "COPY" || strings.Contains(i.rest, "--from=") {
			continue
		}
		words := strings.Fields(i.rest)
		for _, source := range words[:len(words)-1] {
			if !exists(source) {
				t.Errorf("COPY %s: %s is not there", i.rest, source)
			}
			if !strings.Contains(read(t, ".dockerignore"), "\n!"+source+"\n") && !strings.Contains(read(t, ".dockerignore"), "\n!"+filepath.Dir(source)+"\n") &&
				source != "go.sum" {
				t.Errorf("COPY %s: .dockerignore keeps %s out", i.rest, source)
			}
		}
	}
}
