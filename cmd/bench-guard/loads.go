package main

import (
	"slices"
	"strings"
)

// load is a load for both builds.
type load struct {
	name     string
	shared   bool // over MariaDB and Redis, not SQLite
	products int  // that are bought at random
	pipeline bool // the server also processes payments, and a turn ends with the last finished order
	orders   int  // of each client in a turn, which takes about half a second
}

func loads() []load {
	return []load{
		{name: "sqlite/create-one", products: 1, orders: 20},
		{name: "sqlite/create-100", products: 100, orders: 16},
		{name: "sqlite/pipeline", products: 100, pipeline: true, orders: 10},
		{name: "mariadb/create-one", shared: true, products: 1, orders: 14},
		{name: "mariadb/create-100", shared: true, products: 100, orders: 12},
		{name: "mariadb/pipeline", shared: true, products: 100, pipeline: true, orders: 8},
	}
}

// chosen returns the loads whose name contains one of the words; without words all.
func chosen(words []string) []load {
	return slices.DeleteFunc(loads(), func(l load) bool {
		return len(words) > 0 && !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(l.name, word) })
	})
}

func names(all []load) string {
	list := make([]string, len(all))
	for i, l := range all {
		list[i] = l.name
	}
	return strings.Join(list, ", ")
}
