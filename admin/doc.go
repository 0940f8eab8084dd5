// Package admin serves a node's HTTP API and holds the client that the command
// line uses for it.
//
// The same routes are served twice. Over TCP everybody may read, and what
// changes something needs a bearer token whose role allows it. Over the unix
// socket control.sock in the data folder, which only the node's own user can
// open (mode 0600), everything is allowed. Each request over TCP must name the
// node by an IP literal, localhost or a configured host, and must not come from
// another site's page: otherwise a web page could read the API through a
// visitor's browser (DNS rebinding) or act in it (CSRF). Every call that changes
// something is logged with who made it.
//
// What the API shows comes from a [Node]; the package knows nothing of zones or
// maps. openapi.yaml describes the routes and a test holds the two together.
// Every wait and size is bounded. A Server is safe for concurrent use.
package admin
