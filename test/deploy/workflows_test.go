package deploy

import (
	"io/fs"
	"path"
	"path/filepath"
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
	security := documents(t, ".github/workflows/security.yml")[0]
	if security.at("on", "schedule").value == nil {
		t.Error("security.yml has no schedule")
	}
	scans := security.at("jobs").keys()
	slices.Sort(scans)
	if want := []string{"codeql", "govulncheck", "scorecard"}; !slices.Equal(scans, want) {
		t.Errorf("the jobs of security.yml are %v, want %v", scans, want)
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

// TestAttestations: archives and images get an attestation of their origin before anybody can download an archive.
func TestAttestations(t *testing.T) {
	t.Parallel()
	jobs := documents(t, ".github/workflows/release.yml")[0].at("jobs")
	for _, job := range []string{"archives", "images"} {
		jobs.at(job, "permissions", "id-token").is("write")
		jobs.at(job, "permissions", "attestations").is("write")
		attested, published := -1, -1
		for i, step := range jobs.at(job, "steps").each() {
			if uses, _ := step.at("uses").value.(string); strings.HasPrefix(uses, "actions/attest-build-provenance@") {
				attested = i
			}
			if run, _ := step.at("run").value.(string); strings.HasPrefix(run, "gh release create ") {
				published = i
			}
		}
		if attested < 0 {
			t.Errorf("the job %s attests nothing", job)
		}
		if published >= 0 && attested > published {
			t.Errorf("the job %s publishes before it attests", job)
		}
	}
}

// TestDependabot: every folder that names dependencies is updated.
func TestDependabot(t *testing.T) {
	t.Parallel()
	updated := map[string][]string{}
	for _, update := range documents(t, ".github/dependabot.yml")[0].at("updates").each() {
		ecosystem := update.at("package-ecosystem").text()
		if directory, single := update.at("directory").value.(string); single {
			updated[ecosystem] = append(updated[ecosystem], directory)
		}
		for _, directory := range update.at("directories").each() {
			updated[ecosystem] = append(updated[ecosystem], directory.text())
		}
	}
	manifests := map[string]string{"go.mod": "gomod", "package.json": "npm", "requirements.txt": "pip", "Dockerfile": "docker", "compose.yaml": "docker-compose"}
	if !slices.Contains(updated["github-actions"], "/") {
		t.Error("dependabot.yml does not update the actions")
	}
	err := filepath.WalkDir(repository, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "bin" || entry.Name() == ".git") {
			return fs.SkipDir
		}
		ecosystem := manifests[entry.Name()]
		if ecosystem == "" {
			return nil
		}
		relative, err := filepath.Rel(repository, filepath.Dir(name))
		if directory := path.Join("/", filepath.ToSlash(relative)); !slices.Contains(updated[ecosystem], directory) {
			t.Errorf("dependabot.yml does not update %s in %s", ecosystem, directory)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDevcontainer: the container for development is that of the jobs in CI.
func TestDevcontainer(t *testing.T) {
	t.Parallel()
	container := documents(t, ".devcontainer/devcontainer.json")[0]
	container.at("image").is(documents(t, ".github/workflows/ci.yml")[0].at("jobs", "mysql", "container", "image").text())
}
