// Package metrics holds the tests of what operators watch. The dashboard, the alert rules and the documents name metrics,
// and nothing but a test notices when one of them is renamed. So each name is looked for in the metrics of real servers,
// every role and some traffic on them; each expression is parsed; each alert has a rule test that sees it fire and stay
// silent, and a section in docs/operations/runbook.md that says what to do.
package metrics
