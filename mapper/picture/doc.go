// Package picture draws who moves from one map to another: the world as latitude
// and longitude on a plane, with a graticule in place of coasts, the PoPs with
// their names, and a disc for each place with clients that get another first
// choice, the larger the more demand, green where round trips should become
// shorter and red where longer.
//
// New lays out the marks; SVG and PNG write the same marks. The same comparison
// gives the same bytes. No foreign map data or font is in it.
package picture
