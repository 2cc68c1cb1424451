// Package web has what the HTTP servers of the product share: the strict reading of query strings, and embedded files.
package web
