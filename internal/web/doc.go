// Package web has what the HTTP servers of the product share: the strict reading of query strings.
package web
