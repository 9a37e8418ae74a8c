using System;
using Json = System.Text.Json.JsonSerializer;

var builder = WebApplication.CreateBuilder(args);
builder.Services.AddSingleton<IStore, Store>();
var app = builder.Build();
app.MapGet("/users/{id}", (int id) => { return $"{id}"; });
app.MapPost("/", async (HttpContext c) =>
{
    await c.Response.WriteAsync("}");
});
if (args.Length > 0) { Console.WriteLine("{"); } else Console.WriteLine("}");
foreach (var a in args) { Use(a); }
using var file = File.OpenRead("x");
using (var other = File.OpenRead("y")) { }
int x = 1, y = 2;
(var p, var q) = (1, 2);
Func<int, int> square = n => n * n;
static int Local(int n) { return n; }
void Use(string s) => Console.WriteLine(s);
await app.RunAsync();
return x < y ? 1 : 0;

/// <summary>After the statements.</summary>
internal class Store : IStore { public void Save() { } private int count; }
public interface IStore { void Save(); }
public partial class Program { }
namespace After { public enum State { On, Off } }
