package deploy

import (
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// versions are the kinds of objects that the manifests may use, with their API's version.
func versions() map[string]string {
	return map[string]string{
		"ConfigMap": "v1", "Secret": "v1", "Service": "v1", "Deployment": "apps/v1", "PodDisruptionBudget": "policy/v1",
		"HorizontalPodAutoscaler": "autoscaling/v2",
	}
}

// Each role has a deployment, whose pods are those that its service, budget and autoscaler mean, and are asked what the
// product answers.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	objects := map[string]node{} // by kind and name
	for name := range delivered(t) {
		if path.Dir(name) != "deploy/kubernetes" {
			continue
		}
		for _, object := range documents(t, name) {
			kind := object.at("kind").text()
			object.at("apiVersion").is(versions()[kind])
			key := kind + "/" + object.at("metadata", "name").text()
			if objects[key].value != nil {
				t.Errorf("%s: %s is there twice", name, key)
			}
			objects[key] = object
		}
	}
	want := []string{
		"ConfigMap/orderflow", "Deployment/orderflow-api", "Deployment/orderflow-realtime", "Deployment/orderflow-worker",
		"HorizontalPodAutoscaler/orderflow-api", "HorizontalPodAutoscaler/orderflow-worker",
		"PodDisruptionBudget/orderflow-api", "PodDisruptionBudget/orderflow-realtime", "PodDisruptionBudget/orderflow-worker",
		"Secret/orderflow", "Service/orderflow-api", "Service/orderflow-realtime",
	}
	if got := slices.Sorted(maps.Keys(objects)); !slices.Equal(got, want) {
		t.Fatalf("the objects are %v, want %v", got, want)
	}
	for _, role := range []string{"api", "worker", "realtime"} {
		name := "orderflow-" + role
		pods := objects["Deployment/"+name].at("spec", "template")
		labels := pods.at("metadata", "labels").value
		same := func(n node) {
			t.Helper()
			if diff := cmp.Diff(labels, n.value); diff != "" {
				t.Errorf("%s does not mean the pods: %s", n.where, diff)
			}
		}
		same(objects["Deployment/"+name].at("spec", "selector", "matchLabels"))
		same(objects["PodDisruptionBudget/"+name].at("spec", "selector", "matchLabels"))
		container := pods.at("spec", "containers").each()[0]
		ports := map[any]bool{}
		for _, port := range container.at("ports").each() {
			ports[port.at("name").value] = true
		}
		if service := objects["Service/"+name]; service.value != nil {
			same(service.at("spec", "selector"))
			if port := service.at("spec", "ports").each()[0].at("targetPort"); !ports[port.value] {
				t.Errorf("%s is no port of the pods", port.where)
			}
		}
		if scaler := objects["HorizontalPodAutoscaler/"+name]; scaler.value != nil {
			scaler.at("spec", "scaleTargetRef", "name").is(name)
		}
		judgePod(pods, container, role)
	}
	metric := objects["HorizontalPodAutoscaler/orderflow-worker"].at("spec", "metrics").each()[0]
	metric.at("external", "metric", "name").is("orderflow_worker_queue_lag_seconds")
}

// judgePod looks at how a pod runs.
func judgePod(pods, container node, role string) {
	pods.t.Helper()
	pods.at("spec", "terminationGracePeriodSeconds").is(40)
	pods.at("spec", "securityContext", "runAsNonRoot").is(true)
	container.at("securityContext", "readOnlyRootFilesystem").is(true)
	container.at("securityContext", "allowPrivilegeEscalation").is(false)
	container.at("startupProbe", "httpGet", "path").is("/livez")
	container.at("livenessProbe", "httpGet", "path").is("/livez")
	container.at("readinessProbe", "httpGet", "path").is("/readyz")
	var args []string
	for _, arg := range container.at("args").each() {
		args = append(args, arg.text())
	}
	if got, want := strings.Join(args, " "), "serve --roles "+role; got != want {
		pods.t.Errorf("%s runs %q, want %q", container.where, got, want)
	}
	from := container.at("envFrom").each()
	if len(from) != 2 {
		pods.t.Fatalf("%s takes its settings from %d places", container.where, len(from))
	}
	from[0].at("configMapRef", "name").is("orderflow")
	from[1].at("secretRef", "name").is("orderflow")
}
