// Package metrics tests the metrics, the dashboard and the alert rules. Dashboard, alert rules and documents name metrics, and only a
// test notices when one of them is renamed. So the tests look for each name in the metrics of real servers of every role under some
// traffic, and check each expression. Each alert needs a test in which it fires, a test in which it stays silent, and a section in
// docs/operations/runbook.md.
package metrics
