#include "normal.h"

#include <array>
#include <cmath>

namespace bitfall {
namespace {

/// Of degree 7, the constant first.
using Polynomial = std::array<double, 8>;

double evaluate(const Polynomial& coefficients, double x) {
  double sum = 0;
  for (std::size_t i = coefficients.size(); i-- > 0;) sum = sum * x + coefficients[i];
  return sum;
}

struct Ratio {
  Polynomial numerator;
  Polynomial denominator;
  double operator()(double x) const { return evaluate(numerator, x) / evaluate(denominator, x); }
};

constexpr Ratio kCentre{{3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                         1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                         3.3430575583588128105e4, 2.5090809287301226727e3},
                        {1.0, 4.2313330701600911252e1, 6.8718700749205790830e2,
                         5.3941960214247511077e3, 2.1213794301586595867e4, 3.9307895800092710610e4,
                         2.8729085735721942674e4, 5.2264952788528545610e3}};
constexpr Ratio kTail{
    {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
     3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
     2.27238449892691845833e-2, 7.74545014278341407640e-4},
    {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
     1.05075007164441684324e-9}};
constexpr Ratio kFarTail{
    {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
     2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
     2.71155556874348757815e-5, 2.01033439929228813265e-7},
    {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
     2.04426310338993978564e-15}};

/// The natural logarithm of x > 0 by the series of atanh. A C library's log may differ in its last
/// bit between machines; this uses correctly rounded operations alone.
double natural_log(double x) {
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);
  if (mantissa < 0x1.6a09e667f3bcdp-1) {  // sqrt(1/2)
    mantissa *= 2;
    --exponent;
  }
  const double s = (mantissa - 1) / (mantissa + 1);
  const double square = s * s;  // below 0.03: twelve terms leave 1e-19
  double sum = 0;
  for (int term = 23; term >= 1; term -= 2) sum = sum * square + 1.0 / term;
  return exponent * kLn2 + 2 * s * sum;
}

}  // namespace

double normal_quantile(double probability) {
  const double q = probability - 0.5;
  if (std::fabs(q) <= 0.425) return q * kCentre(0.180625 - q * q);
  const double r = std::sqrt(-natural_log(q < 0 ? probability : 1 - probability));
  const double magnitude = r <= 5 ? kTail(r - 1.6) : kFarTail(r - 5);
  return q < 0 ? -magnitude : magnitude;
}

double draw_normal(RandomStream& random) {
  // The middles of 2^52 equal parts of (0, 1), which float64 holds exactly.
  return normal_quantile((static_cast<double>(random.next64() >> 12) + 0.5) * 0x1.0p-52);
}

}  // namespace bitfall
