-- Routes requests by a sheet in shared memory, so that a change of hosts or weights reloads nothing.
--
-- The sheet is one value: every worker sees all of a change or nothing of it. It is loaded from its file by the first
-- request after a start, and by a POST to the verify path. Keys beside it in the dictionary: n (requests drawn), f:NAME:PID
-- (in flight), d:NAME (do not use while it lasts), h:NAME (failed checks), checking.
local balancer = require "ngx.balancer"

local BUSY = -3 -- nginx's own NGX_BUSY: no host is left, which it answers with 502

local M = {}
local parsed = {} -- by dictionary: the sheet as this worker has last read it
local watching = {}

local function load(site)
  local file, why = io.open(site.file, "r")
  if not file then return nil, why end
  local text = file:read("*a")
  file:close()
  local ok, refused = ngx.shared[site.dict]:set("sheet", text)
  if not ok then return nil, refused end
  return text
end

local function gcd(a, b)
  while b ~= 0 do a, b = b, a % b end
  return a
end

-- A stride near the golden section visits all slots once, neighbours far apart: no clumps, and exact shares.
local function stride(total)
  local step = math.max(1, math.floor(total * 0.618))
  while gcd(step, total) ~= 1 do step = step + 1 end
  return step
end

local function parse(text)
  local sheet = { text = text, hosts = {}, by_name = {}, total = 0 }
  for name, weight, host, port in text:gmatch("\n(%S+) (%d+) (%S+):(%d+)") do
    local one = { name = name, weight = tonumber(weight), host = host, port = tonumber(port) }
    sheet.hosts[#sheet.hosts + 1] = one
    sheet.by_name[name] = one
    sheet.total = sheet.total + one.weight
  end
  local common = 0
  for _, one in ipairs(sheet.hosts) do common = gcd(common, one.weight) end
  if common > 1 then
    for _, one in ipairs(sheet.hosts) do one.share = one.weight / common end
    sheet.shares = sheet.total / common
  else
    for _, one in ipairs(sheet.hosts) do one.share = one.weight end
    sheet.shares = sheet.total
  end
  sheet.step = sheet.shares > 0 and stride(sheet.shares) or 1
  return sheet
end

local function current(site)
  local text = ngx.shared[site.dict]:get("sheet") or load(site) or ""
  local known = parsed[site.dict]
  if not known or known.text ~= text then
    known = parse(text)
    parsed[site.dict] = known
  end
  return known
end

-- Draw among hosts that have a weight, pass `tried` and, unless `any`, are not marked down.
local function draw(site, sheet, tried, any)
  local dict = ngx.shared[site.dict]
  local left, shares = {}, 0
  for _, one in ipairs(sheet.hosts) do
    if one.share > 0 and not tried[one.name] and (any or not dict:get("d:" .. one.name)) then
      left[#left + 1] = one
      shares = shares + one.share
    end
  end
  if shares == 0 then return nil end
  local step = shares == sheet.shares and sheet.step or stride(shares)
  local slot = (dict:incr("n", 1, 0) % shares) * step % shares
  for _, one in ipairs(left) do
    if slot < one.share then return one end
    slot = slot - one.share
  end
end

-- Weighted rendezvous: a value keeps its host until that one's weight is 0, and few values move at other changes.
local function owner(site, sheet, value)
  local dict, best, most = ngx.shared[site.dict], nil, -math.huge
  for _, one in ipairs(sheet.hosts) do
    if one.weight > 0 and not dict:get("d:" .. one.name) then
      local a, b, c = ngx.md5_bin(value .. "\0" .. one.name):byte(1, 3)
      local score = -one.weight / math.log((a * 65536 + b * 256 + c + 0.5) / 16777216)
      if score > most then best, most = one, score end
    end
  end
  return best
end

local function stuck(site, sheet)
  if site.sticky_by == "cookie" then
    local one = sheet.by_name[ngx.var["cookie_" .. site.sticky_name] or ""]
    if one and one.weight > 0 and not ngx.shared[site.dict]:get("d:" .. one.name) then return one end
  elseif site.sticky_by == "header" then
    local value = ngx.var["http_" .. site.sticky_name:lower():gsub("-", "_")]
    if value and value ~= "" then return owner(site, sheet, value) end
  end
end

local function healthy(host, port, path)
  local sock = ngx.socket.tcp()
  sock:settimeout(1000)
  local name = host:gsub("[%[%]]", "")
  if not sock:connect(host, port) then return false end
  sock:send("GET " .. path .. " HTTP/1.0\r\nHost: " .. name .. ":" .. port .. "\r\nConnection: close\r\n\r\n")
  local line = sock:receive("*l")
  sock:close()
  return line ~= nil and line:match("^HTTP/1%.%d 2%d%d") ~= nil
end

local function check(site, one)
  local dict = ngx.shared[site.dict]
  if healthy(one.host, one.port, site.health) then
    dict:delete("h:" .. one.name)
    dict:delete("d:" .. one.name)
  elseif (dict:incr("h:" .. one.name, 1, 0) or 0) >= 2 then
    dict:set("d:" .. one.name, true, 10 * site.every + 5)
  end
end

local function check_all(premature, site)
  -- One worker checks for all of them.
  if premature or not ngx.shared[site.dict]:add("checking", true, site.every * 0.9) then return end
  local threads = {}
  for _, one in ipairs(current(site).hosts) do
    threads[#threads + 1] = ngx.thread.spawn(check, site, one)
  end
  for _, thread in ipairs(threads) do ngx.thread.wait(thread) end
end

local function land(routed, one)
  local dict, key = ngx.shared[routed.site.dict], nil
  if routed.counted then dict:incr(routed.counted, -1, 0) end
  if one then
    key = "f:" .. one.name .. ":" .. ngx.worker.pid()
    dict:incr(key, 1, 0)
  end
  routed.counted = key
end

-- access: choose the first host, or answer 503 where nobody has a weight.
function M.route(site)
  if not watching[site.dict] then
    watching[site.dict] = ngx.timer.every(site.every, check_all, site)
  end
  local sheet = current(site)
  if sheet.total == 0 then return ngx.exit(503) end
  ngx.ctx.routed = { site = site, tried = {} }
end

-- balancer: also called for each further try, with the sheet as it is by then: a host taken out is no fallback.
function M.balance(routed)
  local site, tried = routed.site, routed.tried
  local sheet = current(site)
  if routed.last then
    ngx.shared[site.dict]:set("d:" .. routed.last.name, true, 1)
  else
    balancer.set_more_tries(math.min(3, #sheet.hosts - 1))
  end
  local one = not routed.last and stuck(site, sheet)
  one = one or draw(site, sheet, tried, false) or draw(site, sheet, tried, true)
  if not one then return ngx.exit(BUSY) end
  tried[one.name], routed.last = true, one
  land(routed, one)
  assert(balancer.set_current_peer(one.host, one.port))
end

-- header_filter: tell the client its host.
function M.mark(routed)
  if not routed or not routed.last or ngx.var["cookie_" .. routed.site.sticky_name] == routed.last.name then return end
  local mine = routed.site.sticky_name .. "=" .. routed.last.name .. "; Path=/; HttpOnly; SameSite=Lax"
  local said = ngx.header["Set-Cookie"]
  if type(said) == "table" then
    said[#said + 1] = mine
  else
    said = said and { said, mine } or mine
  end
  ngx.header["Set-Cookie"] = said
end

-- log: the request is over, however it ended.
function M.ended(routed)
  if routed then land(routed, nil) end
end

-- What a worker that was killed had in flight is over.
local function lives(pid)
  local file = io.open("/proc/" .. pid .. "/stat", "r")
  if file then file:close() end
  return file ~= nil
end

-- content of the verify path: the sheet, the digest of the running settings, and how many requests each host is answering. POST loads the file first.
function M.answer(site, structure)
  if ngx.req.get_method() == "POST" then
    local text, why = load(site)
    if not text then
      ngx.status = 500
      return ngx.say(why)
    end
  end
  local dict, sheet, flights = ngx.shared[site.dict], current(site), {}
  for _, one in ipairs(sheet.hosts) do flights[one.name] = 0 end
  for _, key in ipairs(dict:get_keys(0)) do
    local name, pid = key:match("^f:(.+):(%d+)$")
    if name and flights[name] then
      if lives(pid) then
        flights[name] = flights[name] + dict:get(key)
      else
        dict:delete(key)
      end
    end
  end
  ngx.print(sheet.text)
  ngx.say("running ", structure)
  for name, count in pairs(flights) do ngx.say("in_flight ", name, " ", count) end
end

package.loaded[debug.getinfo(1, "S").source:sub(2)] = M
return M
