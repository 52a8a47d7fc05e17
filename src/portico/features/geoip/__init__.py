"""`geoip_country` and its kin, and `geoip2`: where a client's address is, from a database in MaxMind's format (.mmdb).

    database.py   a file of that format: loaded, looked into, and replaced as a whole when it has changed
    records.py    what a request has looked up, and how a value of a record is written
    feature.py    nginx's `geoip_*`, whose databases (.dat) no longer exist: the same variables from .mmdb
    geoip2.py     the `geoip2` block of ngx_http_geoip2_module
    reloading.py  `auto_reload`
"""
