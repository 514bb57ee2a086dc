import ccxt

url = "http://127.0.0.1:8771"
options = {"fetchCurrencies": False, "fetchMargins": False, "fetchMarkets": {"types": ["linear"]}}
exchange = ccxt.binanceusdm({"apiKey": "sandbox", "secret": "sandbox", "options": options})
for name in ("fapiPublic", "fapiPrivate"):
    for version in ("", "V2", "V3"):
        exchange.urls["api"][name + version] = f"{url}/fapi/{version.lower() or 'v1'}"
order = exchange.create_order("SYN1/USDT:USDT", "market", "buy", 0.1)
print("bought", order["filled"], "and hold", exchange.fetch_positions()[0]["contracts"])
