(function () {
  "use strict";

  var root = document.documentElement;
  var options = { responsive: true, displaylogo: false, showLink: false, displayModeBar: "hover",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]] };
  var drawn = {};

  function read(id) {
    var element = document.getElementById("data-" + id);
    return element ? JSON.parse(element.textContent) : null;
  }

  // Charts: a colour "$name" is the custom property --name of the theme in force; other text stays as it is.
  function paint(value, style, isColour) {
    if (Array.isArray(value)) return value.map(function (item) { return paint(item, style, isColour); });
    if (value && typeof value === "object") {
      var copy = {};
      Object.keys(value).forEach(function (key) { copy[key] = paint(value[key], style, /color$/.test(key)); });
      return copy;
    }
    if (isColour && typeof value === "string" && value.charAt(0) === "$") {
      return style.getPropertyValue("--" + value.slice(1).replace(/_/g, "-")).trim();
    }
    return value;
  }

  function draw(place) {
    var figure = paint(read(place.dataset.chart), getComputedStyle(root), false);
    drawn[place.id] = true;
    return Plotly.react(place, figure.data, figure.layout, options);
  }

  function drawOnce(place) {
    return drawn[place.id] ? Promise.resolve() : draw(place);
  }

  function redrawAll() {
    Object.keys(drawn).forEach(function (id) {
      var place = document.getElementById(id);
      if (place.hidden) { Plotly.purge(place); delete drawn[id]; } else { draw(place); }
    });
  }

  var places = Array.prototype.slice.call(document.querySelectorAll("[data-chart]"));
  if ("IntersectionObserver" in window) {
    var observer = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        if (entry.isIntersecting) { observer.unobserve(entry.target); drawOnce(entry.target); }
      });
    }, { rootMargin: "400px" });
    places.forEach(function (place) { observer.observe(place); });
  } else {
    places.forEach(function (place) { if (!place.hidden) drawOnce(place); });
  }
  window.addEventListener("beforeprint", function () {
    places.forEach(function (place) { if (!place.hidden) drawOnce(place); });
  });

  // Theme: the reader's system decides until the button does.
  var system = window.matchMedia("(prefers-color-scheme: dark)");
  document.getElementById("theme").addEventListener("click", function () {
    var dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    root.dataset.theme = dark ? "light" : "dark";
    redrawAll();
  });
  system.addEventListener("change", function () { if (!root.dataset.theme) redrawAll(); });

  // Tabs of the candle charts.
  var tabs = Array.prototype.slice.call(document.querySelectorAll("[data-tab]"));
  function open(id) {
    tabs.forEach(function (tab) {
      var chosen = tab.dataset.tab === id;
      tab.setAttribute("aria-pressed", String(chosen));
      document.getElementById("chart-" + tab.dataset.tab).hidden = !chosen;
    });
    return drawOnce(document.getElementById("chart-" + id));
  }
  tabs.forEach(function (tab) { tab.addEventListener("click", function () { open(tab.dataset.tab); }); });

  // The table of trades.
  var table = document.querySelector("[data-table]");
  if (!table) return;
  var content = read(table.dataset.table);
  var columns = content.columns, rows = content.rows, pageSize = 50;
  var state = { column: 0, falling: true, page: 0, found: rows };
  var index = {};
  columns.forEach(function (column, i) { index[column.title] = i; });

  function two(number) { return (number < 10 ? "0" : "") + number; }
  function clock(time) { return new Date(time).toISOString().slice(0, 16).replace("T", " "); }
  function length(milliseconds) {
    var minutes = Math.round(milliseconds / 60000);
    return minutes < 60 ? minutes + " min" : Math.floor(minutes / 60) + " h " + two(minutes % 60) + " min";
  }
  function grouped(number, digits) {
    return number.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }
  var show = {
    time: clock,
    duration: length,
    money: function (x) { return (x > 0 ? "+" : "") + grouped(x, 2); },
    result: function (x) { return (x > 0 ? "+" : "") + x.toFixed(2); },
    cost: function (x) { return grouped(x, 3); },
    price: function (x) { return x.toLocaleString("en-US", { maximumSignificantDigits: 8 }); },
    share: function (x) { return (100 * x).toFixed(1) + " %"; },
    model: function (x) { return x ? "v" + x : "UNTRAINED"; }
  };
  function shown(value, kind) {
    if (value === null) return kind === "share" ? "" : "n/a";
    return (show[kind] ? show[kind](value) : String(value)).replace(/^-/, "\u2212");
  }
  function tone(value, kind) {
    if (kind === "side") return value;
    if ((kind !== "money" && kind !== "result") || !value) return "";
    return value > 0 ? "profit" : "loss";
  }

  function search() {
    var words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    state.found = rows.filter(function (row) {
      var text = row.filter(function (cell) { return typeof cell === "string"; }).join(" ").toLowerCase();
      return words.every(function (word) { return text.indexOf(word) >= 0; });
    });
    sort();
  }
  function sort() {
    var i = state.column, sign = state.falling ? -1 : 1;
    state.found = state.found.slice().sort(function (a, b) {
      if (a[i] === b[i]) return b[0] - a[0];
      if (a[i] === null) return 1;
      if (b[i] === null) return -1;
      return a[i] < b[i] ? -sign : sign;
    });
    state.page = 0;
    fill();
  }

  var head = table.createTHead().insertRow(), body = table.createTBody();
  columns.forEach(function (column, i) {
    var cell = document.createElement("th"), button = document.createElement("button");
    cell.scope = "col";
    if (["text", "side", "model"].indexOf(column.kind) >= 0) cell.className = "word";
    button.type = "button";
    button.textContent = column.title;
    button.addEventListener("click", function () {
      state.falling = state.column === i ? !state.falling : column.kind !== "text" && column.kind !== "side";
      state.column = i;
      sort();
    });
    cell.appendChild(button);
    head.appendChild(cell);
  });

  function fill() {
    Array.prototype.forEach.call(head.cells, function (cell, i) {
      if (i === state.column) cell.setAttribute("aria-sort", state.falling ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    body.textContent = "";
    state.found.slice(state.page * pageSize, (state.page + 1) * pageSize).forEach(function (row) {
      var line = body.insertRow();
      columns.forEach(function (column, i) {
        var cell = line.insertCell();
        cell.textContent = shown(row[i], column.kind);
        cell.className = (column.kind + " " + tone(row[i], column.kind)).trim();
      });
      if (document.getElementById("chart-candles-" + row[index.Symbol])) {
        line.className = "linked";
        line.addEventListener("click", function () { focus(row); });
      }
    });
    var net = state.found.reduce(function (sum, row) { return sum + row[index["Net PnL"]]; }, 0);
    document.getElementById("matches").textContent =
      state.found.length + " of " + rows.length + " trades, net " + shown(net, "money");
    turn();
  }

  function turn() {
    var pages = Math.ceil(state.found.length / pageSize), bar = document.getElementById("pages");
    bar.textContent = "";
    if (pages < 2) return;
    function button(text, page) {
      var element = document.createElement("button");
      element.type = "button";
      element.textContent = text;
      element.disabled = page < 0 || page >= pages;
      element.addEventListener("click", function () { state.page = page; fill(); });
      bar.appendChild(element);
    }
    button("Previous", state.page - 1);
    var where = document.createElement("span");
    where.textContent = "Page " + (state.page + 1) + " of " + pages;
    bar.appendChild(where);
    button("Next", state.page + 1);
  }

  // A row leads to its symbol's chart, zoomed to the trade with room on both sides.
  function focus(row) {
    var id = "candles-" + row[index.Symbol];
    var entry = row[index["Entry time (UTC)"]], exit = row[index["Exit time (UTC)"]];
    open(id).then(function () {
      var place = document.getElementById("chart-" + id), candles = place.data[0];
      var room = Math.max(exit - entry, 24 * (candles.x[1] - candles.x[0] || 60000));
      var from = entry - room, to = exit + room;
      var prices = [row[index["Entry price"]], row[index["Exit price"]]];
      candles.x.forEach(function (time, i) {
        if (time >= from && time <= to) prices.push(candles.low[i], candles.high[i]);
      });
      var low = Math.min.apply(null, prices), high = Math.max.apply(null, prices), margin = 0.06 * (high - low);
      document.getElementById("candles").scrollIntoView();
      return Plotly.relayout(place, {
        "xaxis.range": [from, to],
        "yaxis.range": [low - margin, high + margin]
      });
    });
  }

  document.getElementById("filter").addEventListener("input", search);
  document.getElementById("download").addEventListener("click", function () {
    function quoted(value) {
      var text = value === null ? "" : String(value);
      if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = "'" + text;
      return /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
    }
    var lines = [columns.map(function (column) { return quoted(column.title); }).join(",")];
    state.found.forEach(function (row) {
      lines.push(row.map(function (value, i) {
        return quoted(columns[i].kind === "time" ? new Date(value).toISOString() : value);
      }).join(","));
    });
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
    link.download = "trades.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  search();
})();
