package deploy

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Actions of others are pinned by commit, with the version for people behind it, and get no rights but those they need.
// (Whether the workflows are sound otherwise is actionlint's to say, in make lint.)
func TestWorkflows(t *testing.T) {
	t.Parallel()
	uses := regexp.MustCompile(`(?m)uses: *(.*)$`)
	pinned := regexp.MustCompile(`^[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	versions := map[string]string{} // of each action
	for name, text := range delivered(t) {
		if path.Dir(name) != ".github/workflows" {
			continue
		}
		workflow := documents(t, name)[0]
		if rights := workflow.at("permissions"); !slices.Equal(rights.keys(), []string{"contents"}) {
			t.Errorf("%s gives all jobs %v", name, rights.value)
		}
		for _, job := range workflow.at("jobs").keys() {
			if workflow.at("jobs", job, "timeout-minutes").value == nil {
				t.Errorf("%s: the job %s may go on for six hours", name, job)
			}
		}
		for _, match := range uses.FindAllStringSubmatch(text, -1) {
			if !pinned.MatchString(match[1]) {
				t.Errorf("%s uses %q, which is not pinned", name, match[1])
			}
			action, version, _ := strings.Cut(match[1], "@")
			if versions[action] != "" && versions[action] != version {
				t.Errorf("%s uses %s@%s, another file %s", name, action, version, versions[action])
			}
			versions[action] = version
		}
	}
	jobs := documents(t, ".github/workflows/ci.yml")[0].at("jobs")
	got := jobs.keys()
	slices.Sort(got)
	if want := []string{"contract", "docker", "feature", "lint", "mysql", "unit"}; !slices.Equal(got, want) {
		t.Errorf("the jobs are %v, want %v", got, want)
	}
	for _, job := range got {
		if jobs.at(job, "needs").value != nil {
			t.Errorf("the job %s waits for another one", job)
		}
	}
}

// What the workflows and CONTRIBUTING have made can be made.
func TestTargetsExist(t *testing.T) {
	t.Parallel()
	makefile := read(t, "Makefile")
	files := delivered(t)
	files["CONTRIBUTING.md"] = read(t, "CONTRIBUTING.md")
	for name, text := range files {
		for _, match := range regexp.MustCompile("(?m)(?:run: |`|^)make ([a-z -]+)").FindAllStringSubmatch(text, -1) {
			for target := range strings.FieldsSeq(match[1]) {
				if !strings.Contains(makefile, "\n"+target+":") {
					t.Errorf("%s makes %s, which is no target", name, target)
				}
			}
		}
	}
}
