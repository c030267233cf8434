;; A worker: prints each record that it gets, and publishes that it has.
(module
  (import "skerry" "next" (func $next (param $address i32) (param $capacity i32) (param $milliseconds i32) (result i32)))
  (import "skerry" "log" (func $log (param $address i32) (param $length i32) (result i32)))
  (import "skerry" "publish" (func $publish (param $address i32) (param $length i32) (result i32)))
  (memory (export "memory") 5)
  (data (i32.const 0) "{\"name\": \"follow.seen\", \"value\": true}")
  (func (export "_start") (local $length i32)
    (loop $again
      (local.set $length (call $next (i32.const 1024) (i32.const 262144) (i32.const -1)))
      (drop (call $log (i32.const 1024) (local.get $length)))
      (drop (call $publish (i32.const 0) (i32.const 38)))
      (br $again))))
