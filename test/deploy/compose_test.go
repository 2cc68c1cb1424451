package deploy

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The six services, each with a check, started when what they need is healthy, at their ports.
func TestCompose(t *testing.T) {
	t.Parallel()
	file := documents(t, "compose.yaml")[0]
	services := file.at("services")
	needs := map[string][]string{
		"app": {"mysql", "redis"}, "worker": {"mysql", "redis"}, "realtime": {"app", "mysql", "redis"}, "nginx": {"app", "realtime"},
		"mysql": nil, "redis": nil,
	}
	ports := map[string]string{
		"nginx": "${PUBLISH_ON:-127.0.0.1}:8000:80", "realtime": "${PUBLISH_ON:-127.0.0.1}:8080:8080",
		"mysql": "127.0.0.1:33061:3306", "redis": "127.0.0.1:63790:6379",
	}
	for _, name := range slices.Sorted(maps.Keys(needs)) {
		service := services.at(name)
		if service.at("healthcheck", "test").value == nil {
			t.Errorf("%s has no health check", name)
		}
		service.at("restart").is("unless-stopped")
		waits := slices.Sorted(slices.Values(merged(service.at("depends_on"))))
		if !slices.Equal(waits, needs[name]) {
			t.Errorf("%s waits for %v, want %v", name, waits, needs[name])
		}
		for _, other := range waits {
			if condition := find(service.at("depends_on"), other, "condition"); condition != "service_healthy" {
				t.Errorf("%s waits for %s to be %v", name, other, condition)
			}
		}
		var open []string
		for _, port := range service.at("ports").each() {
			open = append(open, port.text())
		}
		if strings.Join(open, " ") != ports[name] {
			t.Errorf("%s opens %q, want %q", name, open, ports[name])
		}
	}
	for _, name := range services.keys() {
		if _, six := needs[name]; !six && services.at(name, "profiles").value == nil {
			t.Errorf("%s starts with the six", name)
		}
	}
	redis := fmt.Sprint(services.at("redis", "command").value)
	for _, words := range []string{"--appendonly yes", "--maxmemory-policy noeviction", "--requirepass"} {
		if !strings.Contains(redis, words) {
			t.Errorf("redis runs as %s, without %s", redis, words)
		}
	}
	file.at("x-orderflow", "stop_grace_period").is("35s")
	file.at("x-orderflow", "environment", "ORDERFLOW_DRAIN_DELAY").is("5s")
	services.at("app", "environment", "ORDERFLOW_TRUSTED_PROXIES").is("${PROXY_ADDRESS:-172.30.80.2}/32")
	services.at("nginx", "networks", "default", "ipv4_address").is("${PROXY_ADDRESS:-172.30.80.2}")
	for _, volume := range services.at("nginx", "volumes").each() {
		source, _, _ := strings.Cut(volume.text(), ":")
		if !exists(source) {
			t.Errorf("nginx is given %s, which is not there", source)
		}
	}
}

// merged are the names of an object, those that it takes over by << included.
func merged(n node) []string {
	names := n.keys()
	if n.at("<<").value == nil {
		return names
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "<<" })
	return append(names, merged(n.at("<<"))...)
}

// find goes down two keys, through << where need be.
func find(n node, keys ...string) any {
	if value := n.at(keys...).value; value != nil || n.at("<<").value == nil {
		return value
	}
	return find(n.at("<<"), keys...)
}

// Where Docker Compose is, it is asked.
func TestComposeUnderstands(t *testing.T) {
	t.Parallel()
	if exec.CommandContext(t.Context(), "docker", "compose", "version").Run() != nil {
		t.Log("there is no Docker Compose here: the file was read by this test's own rules alone")
		return
	}
	env := filepath.Join(t.TempDir(), "env")
	write(t, filepath.Dir(env), "env", regexp.MustCompile(`(?m)=$`).ReplaceAllString(read(t, ".env.docker.example"), "=x"))
	command(t, nil, "docker", "compose", "--env-file", env, "--profile", "observability", "-f", filepath.Join(repository, "compose.yaml"), "config", "-q")
}
